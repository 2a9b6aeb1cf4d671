import { Readable } from 'node:stream';
import type { Io } from '../io.ts';

type MemoryIo = Io & { readonly chunks: Buffer[]; outText(): string; errText(): string };

/** Streams of a command under test: input from a text, output kept. */
export function memoryIo(input = '', env: Readonly<Record<string, string>> = {}): MemoryIo {
  const chunks: Buffer[] = [];
  let errors = '';
  return {
    chunks,
    out: (chunk) => void chunks.push(Buffer.from(chunk)),
    err: (chunk) => {
      errors += chunk;
    },
    drained: async () => undefined,
    env,
    stdin: Readable.from(input === '' ? [] : [Buffer.from(input)]),
    errIsTerminal: false,
    outText: () => Buffer.concat(chunks).toString(),
    errText: () => errors,
  };
}
