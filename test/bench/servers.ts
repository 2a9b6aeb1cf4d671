/** Server programs under measurement. Anything that takes etcd's flags can be one. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from '../support/child.ts';

const MUSTER_MAIN = fileURLToPath(new URL('../../apps/server/src/main.ts', import.meta.url));
const START_TIMEOUT_MS = 120_000;
/** What /proc counts CPU time in; it is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const QUOTA_BYTES = 8 * 1024 ** 3;

export type Program = {
  readonly name: string;
  readonly command: string;
  /** Before the flags that every member gets. */
  readonly args: readonly string[];
  readonly version: string;
  /** The watch protocol of /v1, which only Muster has. */
  readonly hasV1: boolean;
};

export function musterProgram(): Program {
  const output = execFileSync(process.execPath, [MUSTER_MAIN, '--version'], { encoding: 'utf8' });
  const own = output.split('\n').find((line) => line.startsWith('Muster Version'));
  const version = `${own ?? output.trim()}, Node ${process.versions.node}`;
  return {
    name: 'Muster',
    command: process.execPath,
    args: [MUSTER_MAIN, '--log-level=error'],
    version,
    hasV1: true,
  };
}

export function etcdProgram(path: string): Program {
  const output = spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout;
  const version = output.split('\n')[0] ?? 'etcd';
  return { name: 'etcd', command: path, args: ['--logger=zap', '--log-level=error'], version, hasV1: false };
}

export type Node = {
  readonly name: string;
  readonly url: string;
  readonly port: number;
  /** Process id of the running member. */
  readonly pid: number;
  readonly running: boolean;
  start(): void;
  stop(signal: NodeJS.Signals): Promise<void>;
};

export type Cluster = {
  readonly program: Program;
  readonly nodes: readonly Node[];
  close(): Promise<void>;
};

/** Starts `size` fresh members on the ports from `firstPort` on, with data in a temporary directory. */
export async function startCluster(program: Program, size: number, firstPort: number): Promise<Cluster> {
  const directory = mkdtempSync(join(tmpdir(), 'muster-bench-'));
  const urls = Array.from({ length: size }, (_, i) => ({
    client: firstPort + 2 * i,
    peer: `http://127.0.0.1:${firstPort + 2 * i + 1}`,
  }));
  const initialCluster = urls.map(({ peer }, i) => `n${i}=${peer}`).join(',');
  const nodes = urls.map(({ client, peer }, i) =>
    makeNode(program, `n${i}`, client, peer, join(directory, `n${i}`), initialCluster),
  );
  const close = async (): Promise<void> => {
    await Promise.all(nodes.filter((node) => node.running).map((node) => node.stop('SIGKILL')));
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    for (const node of nodes) node.start();
    await Promise.all(nodes.map((node) => serving(node)));
  } catch (error) {
    await close();
    throw error;
  }
  return { program, nodes, close };
}

function makeNode(
  program: Program,
  name: string,
  port: number,
  peer: string,
  directory: string,
  initialCluster: string,
): Node {
  mkdirSync(directory, { mode: 0o700 });
  const url = `http://127.0.0.1:${port}`;
  const args = [
    ...program.args,
    `--name=${name}`,
    `--data-dir=${join(directory, 'data')}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=${initialCluster}`,
    '--initial-cluster-token=bench',
    `--quota-backend-bytes=${QUOTA_BYTES}`,
  ];
  let child: Child | undefined;
  return {
    name,
    url,
    port,
    get pid() {
      return child?.process.pid ?? 0;
    },
    get running() {
      return child !== undefined;
    },
    start() {
      child = new Child(program.command, args);
    },
    async stop(signal) {
      const stopping = child;
      child = undefined;
      await stopping?.stop(signal);
    },
  };
}

/** Resolves when the member answers a linearizable read. */
export async function serving(node: Node, timeoutMs: number = START_TIMEOUT_MS): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      await post(node.url, '/v3/kv/range', { key: 'AA==' });
      return;
    } catch (error) {
      if (performance.now() > deadline) throw new Error(`${node.url} does not serve`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

/** One JSON call; rejects unless the answer is 200. */
export async function post(url: string, path: string, body: unknown, timeoutMs = 10_000): Promise<never> {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
    signal: AbortSignal.timeout(timeoutMs),
  });
  const text = await response.text();
  if (response.status !== 200)
    throw new Error(`${url}${path}: HTTP ${response.status}: ${text.slice(0, 200)}`);
  return JSON.parse(text) as never;
}

/** The node that leads, as the members that answer agree. */
export async function leaderOf(cluster: Cluster): Promise<Node> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) {
    for (const node of cluster.nodes) {
      if (!node.running) continue;
      const status = await post(node.url, '/v3/maintenance/status', {}, 1000).catch(() => undefined);
      const { leader, header } = (status ?? {}) as { leader?: string; header?: { member_id?: string } };
      if (leader && leader === header?.member_id) return node;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('no leader within 30 s');
}

/** Seconds of CPU that the process has used, by /proc. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Resident bytes of the process, all and those that are not pages of files. */
export function residentBytes(pid: number): { readonly all: number; readonly anonymous: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const kilobytes = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0);
  return { all: kilobytes('VmRSS') * 1024, anonymous: kilobytes('RssAnon') * 1024 };
}
