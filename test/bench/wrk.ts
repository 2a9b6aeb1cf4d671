import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

export type Load = {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
};

export type WrkOptions = {
  readonly wrk: string;
  readonly url: string;
  readonly script: 'put' | 'range';
  readonly args: readonly (string | number)[];
  readonly connections: number;
  readonly seconds: number;
  readonly threads: number;
};

type Result = {
  readonly requests: number;
  readonly durationUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  readonly failed: number;
};

/** Puts load on `url` with wrk. Any failed request makes the measurement void: it rejects. */
export async function load(options: WrkOptions): Promise<Load> {
  const script = fileURLToPath(new URL(`lua/${options.script}.lua`, import.meta.url));
  const { stdout } = await run(options.wrk, [
    `-t${options.threads}`,
    `-c${options.connections}`,
    `-d${options.seconds}s`,
    '--timeout=20s',
    '-s',
    script,
    options.url,
    '--',
    ...options.args.map(String),
  ]);
  const line = /^RESULT (.*)$/m.exec(stdout)?.[1];
  if (line === undefined) throw new Error(`wrk printed no result:\n${stdout}`);
  const result = JSON.parse(line) as Result;
  if (result.failed > 0)
    throw new Error(`${result.failed} of ${result.requests} requests to ${options.url} failed`);
  return {
    perSecond: (result.requests * 1e6) / result.durationUs,
    p50Ms: result.p50Us / 1000,
    p99Ms: result.p99Us / 1000,
    maxMs: result.maxUs / 1000,
  };
}
