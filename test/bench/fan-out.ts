import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Pool } from 'undici';
import { cpuSeconds, type Node } from './servers.ts';
import { WATCHED_KEY, type WatchKind } from './watchers.ts';

const CHILD = fileURLToPath(new URL('watchers.child.ts', import.meta.url));
const WRITERS = 16;
const TIMEOUT_MS = 180_000;

type FanOut = {
  /** Events delivered a second, over all watches. */
  readonly perSecond: number;
  /** CPU that the server used for a million of them. */
  readonly cpuSecondsPerMillion: number;
};

/** Puts `events` values on one key as fast as the server takes them, watched `watches` times over. */
export async function fanOut(
  node: Node,
  options: { kind: WatchKind; watches: number; events: number; valueBytes: number },
): Promise<FanOut> {
  const { kind, watches, events, valueBytes } = options;
  const child = fork(CHILD, [kind, `127.0.0.1:${node.port}`, String(watches), String(events)]);
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the process with the watches ended early (${code})`);
  });
  const pool = new Pool(node.url, { connections: WRITERS, pipelining: 1 });
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    await Promise.race([told(child, 'ready', timeout), ended]);
    const done = told(child, 'done', timeout);
    const cpuBefore = cpuSeconds(node.pid);
    const start = performance.now();
    await Promise.race([writeAll(pool, events, valueBytes), ended]);
    await Promise.race([done, ended]);
    const seconds = (performance.now() - start) / 1000;
    const total = watches * events;
    const cpu = cpuSeconds(node.pid) - cpuBefore;
    return { perSecond: total / seconds, cpuSecondsPerMillion: (cpu * 1e6) / total };
  } finally {
    ended.catch(() => {});
    child.kill('SIGKILL');
    await pool.destroy();
  }
}

async function told(child: ReturnType<typeof fork>, word: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    const [message] = await once(child, 'message', { signal });
    if (message === word) return;
  }
}

async function writeAll(pool: Pool, events: number, valueBytes: number): Promise<void> {
  const value = Buffer.alloc(valueBytes, 'v').toString('base64');
  const body = JSON.stringify({ key: WATCHED_KEY, value });
  let left = events;
  const writer = async (): Promise<void> => {
    while (left-- > 0) {
      const response = await pool.request({ method: 'POST', path: '/v3/kv/put', body });
      const text = await response.body.text();
      if (response.statusCode !== 200)
        throw new Error(`put: HTTP ${response.statusCode}: ${text.slice(0, 200)}`);
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
}
