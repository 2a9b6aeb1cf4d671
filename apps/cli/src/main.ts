import { once } from 'node:events';
import { run } from './run.ts';

/** 128 plus the signal's number: how a shell shows a program that a signal ended. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/**
 * The process: its arguments, its streams, its exit code. The first signal lets the command clean up (a lock is
 * released), the second ends it at once.
 */
export async function main(): Promise<void> {
  const stop = new AbortController();
  let bySignal: number | undefined;
  for (const signal of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]) {
    process.on(signal, () => {
      if (bySignal !== undefined) process.exit(SIGNALS[signal]);
      bySignal = SIGNALS[signal];
      stop.abort();
    });
  }
  // A reader that went away, as `head` does, ends the output and so the command.
  process.stdout.on('error', (error: NodeJS.ErrnoException) =>
    process.exit(error.code === 'EPIPE' ? 141 : 1),
  );
  const code = await run({
    name: process.env.MUSTERCTL_NAME || 'musterctl',
    argv: process.argv.slice(2),
    io: {
      out: (chunk) => void process.stdout.write(chunk),
      err: (chunk) => void process.stderr.write(chunk),
      drained: async () => {
        if (process.stdout.writableNeedDrain) await once(process.stdout, 'drain');
      },
      env: process.env,
      get stdin() {
        return process.stdin;
      },
      errIsTerminal: process.stderr.isTTY === true,
    },
    signal: stop.signal,
  });
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  // Whatever is still open, an idle socket say, is of no use.
  process.exit(bySignal !== undefined && code === 0 ? bySignal : code);
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => void stream.write('', () => resolve()));
}
