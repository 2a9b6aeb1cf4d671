import type { Readable } from 'node:stream';
import { Failure } from '../failure.ts';
import type { Io } from '../io.ts';

/**
 * One line that the terminal does not show; without a terminal the next line of the input.
 * Asked for on standard output, as etcdctl does.
 */
export async function readPassword(prompt: string, io: Io): Promise<string> {
  io.out(prompt);
  const terminal = io.stdin as Readable as NodeJS.ReadStream;
  if (!terminal.isTTY) {
    const line = await firstLine(io);
    io.out('\n');
    return line;
  }
  terminal.setRawMode(true);
  try {
    return await typed(terminal);
  } finally {
    terminal.setRawMode(false);
    terminal.pause();
    io.out('\n');
  }
}

/** The next line of the input, without its end; what follows stays there for whoever reads on. */
export async function firstLine({ stdin }: Io): Promise<string> {
  let text = Buffer.alloc(0);
  for await (const chunk of stdin.iterator({ destroyOnReturn: false })) {
    text = Buffer.concat([text, Buffer.from(chunk as Uint8Array)]);
    const end = text.indexOf('\n');
    if (end < 0) continue;
    if (end + 1 < text.length) stdin.unshift(text.subarray(end + 1));
    text = text.subarray(0, end);
    break;
  }
  return text.toString().replace(/\r$/, '');
}

async function typed(terminal: NodeJS.ReadStream): Promise<string> {
  let text = '';
  for await (const chunk of terminal) {
    for (const letter of String(chunk)) {
      if (letter === '\r' || letter === '\n' || letter === '\x04') return text;
      if (letter === '\x03') throw new Failure('interrupted', 130);
      text = letter === '\x7f' || letter === '\b' ? text.slice(0, -1) : text + letter;
    }
  }
  return text;
}
