/** The main job as `npm start` runs it, on ports of its own, for tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from './muster.ts';
import { portsInARow } from './ports.ts';

const MAIN = new URL('../../apps/demo/src/main.ts', import.meta.url).pathname;
const UP = 'Ctrl-C stops everything in order.';
const START_TIMEOUT_MS = 60_000;

export type RunningDemo = {
  readonly endpoints: readonly string[];
  readonly dataDir: string;
  readonly process: ChildProcess;
  output(): string;
  /** Ctrl-C; resolves with the exit code. */
  stop(): Promise<number | null>;
};

/** Starts it and waits until it says what to try. Without `dataDir` the data is gone when the test ends. */
export async function startDemo(options: { readonly dataDir?: string } = {}): Promise<RunningDemo> {
  const base = await portsInARow(6);
  const dataDir = options.dataDir ?? join(temporaryDirectory('demo'), 'data');
  const child = spawn(process.execPath, [MAIN, `--base-port=${base}`, `--data-dir=${dataDir}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not up in time:\n${output}`)), START_TIMEOUT_MS);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk;
        if (!output.includes(UP)) return;
        clearTimeout(timer);
        resolve();
      });
    }
    child.once('exit', (code) => reject(new Error(`ended with ${code}:\n${output}`)));
  });
  const stop = async () => {
    if (child.exitCode !== null) return child.exitCode;
    const exit = once(child, 'exit') as Promise<[number | null]>;
    child.kill('SIGINT');
    const [code] = await exit;
    if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
    return code;
  };
  const endpoints = [0, 2, 4].map((offset) => `http://127.0.0.1:${base + offset}`);
  return { endpoints, dataDir, process: child, output: () => output, stop };
}
