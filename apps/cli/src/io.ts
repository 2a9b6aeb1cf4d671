import type { Readable } from 'node:stream';

/** The process as commands see it; tests give their own. */
export type Io = {
  out(chunk: string | Uint8Array): void;
  err(chunk: string): void;
  /** Resolves when the reader of the output has taken enough of it for more. */
  drained(): Promise<void>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** Standard error is a terminal: progress may be drawn there. */
  readonly errIsTerminal: boolean;
};

/** Everything up to the end of the input. */
export async function readAll(stdin: NodeJS.ReadableStream): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of stdin) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}

/** Lines without their ends. A last line without an end is one too. */
export async function* readLines(stdin: NodeJS.ReadableStream, signal?: AbortSignal): AsyncGenerator<string> {
  const { createInterface } = await import('node:readline');
  const lines = createInterface({ input: stdin, crlfDelay: Number.POSITIVE_INFINITY });
  const stop = () => lines.close();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    yield* lines;
  } finally {
    signal?.removeEventListener('abort', stop);
    lines.close();
  }
}
