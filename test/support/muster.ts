/** Real Muster processes for whole-system tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from './ports.ts';

const MAIN = new URL('../../apps/server/src/main.ts', import.meta.url).pathname;
const READY = 'ready to serve client requests';
/** Generous, for a machine that is busy with other tests; a process that ends is noticed at once. */
const START_TIMEOUT_MS = 60_000;

/** A directory that is gone when the process ends. */
export function temporaryDirectory(name: string): string {
  const path = mkdtempSync(join(tmpdir(), `muster-${name}-`));
  process.on('exit', () => rmSync(path, { recursive: true, force: true }));
  return path;
}

export type MusterMember = {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  readonly dataDir: string;
  readonly process: ChildProcess | undefined;
  /** Everything written to standard error since the first start. */
  log(): string;
  start(): Promise<void>;
  /** Sends a signal and waits for the end; the exit code, or the signal's name. */
  stop(signal?: NodeJS.Signals): Promise<number | string>;
};

export type MusterCluster = {
  readonly members: readonly MusterMember[];
  readonly endpoints: readonly string[];
  /** Whom the members agree on, as `members` index; waits until they do. */
  leader(): Promise<number>;
  close(): Promise<void>;
};

/** Starts `size` members on free ports of the loopback interface and waits until all serve. */
export async function startMuster(
  size: number,
  options: {
    readonly flags?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    /** Called for each member before any is started. */
    readonly prepare?: (member: MusterMember, initialCluster: string) => Promise<void>;
  } = {},
): Promise<MusterCluster> {
  const ports = await freePorts(size * 2);
  const dir = temporaryDirectory('cluster');
  const names = Array.from({ length: size }, (_, i) => `m${i + 1}`);
  const peerUrl = (i: number) => `http://127.0.0.1:${ports[size + i]}`;
  const initialCluster = names.map((name, i) => `${name}=${peerUrl(i)}`).join(',');
  const members = names.map((name, i) =>
    makeMember({
      name,
      clientUrl: `http://127.0.0.1:${ports[i]}`,
      peerUrl: peerUrl(i),
      dataDir: join(dir, name),
      initialCluster,
      flags: options.flags ?? [],
      env: options.env ?? {},
    }),
  );
  if (options.prepare) await Promise.all(members.map((m) => options.prepare?.(m, initialCluster)));
  const close = async () => {
    await Promise.all(members.map((member) => member.stop('SIGKILL')));
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await Promise.all(members.map((member) => member.start()));
  } catch (error) {
    // Members that run on would keep the test's process.
    await close();
    throw error;
  }
  return {
    members,
    endpoints: members.map((member) => member.clientUrl),
    leader: () => findLeader(members),
    close,
  };
}

/** A member that is yet to be started, with nothing but these flags. */
export function makeMember(config: {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  readonly dataDir: string;
  readonly initialCluster: string;
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}): MusterMember {
  let child: ChildProcess | undefined;
  let log = '';
  const args = [
    MAIN,
    `--name=${config.name}`,
    `--data-dir=${config.dataDir}`,
    `--listen-client-urls=${config.clientUrl}`,
    `--advertise-client-urls=${config.clientUrl}`,
    `--listen-peer-urls=${config.peerUrl}`,
    `--initial-advertise-peer-urls=${config.peerUrl}`,
    `--initial-cluster=${config.initialCluster}`,
    ...config.flags,
  ];
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    const stopping = child;
    if (!stopping || stopping.exitCode !== null || stopping.signalCode !== null) return 0;
    const exit = once(stopping, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    stopping.kill(signal);
    const [code, killedBy] = await exit;
    child = undefined;
    return code ?? killedBy ?? 0;
  };
  return {
    name: config.name,
    clientUrl: config.clientUrl,
    peerUrl: config.peerUrl,
    dataDir: config.dataDir,
    get process() {
      return child;
    },
    log: () => log,
    stop,
    start: async () => {
      const started = spawn(process.execPath, args, {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, ...config.env },
      });
      child = started;
      const from = log.length;
      await new Promise<void>((resolve, reject) => {
        const fail = (why: string) => reject(new Error(`${config.name} ${why}:\n${log.slice(from)}`));
        const timer = setTimeout(() => fail('did not come up in time'), START_TIMEOUT_MS);
        started.stderr?.on('data', (chunk: Buffer) => {
          log += chunk;
          if (!log.slice(from).includes(READY)) return;
          clearTimeout(timer);
          resolve();
        });
        started.once('exit', (code, signal) => {
          clearTimeout(timer);
          fail(`ended with ${code ?? signal} before it was ready`);
        });
      });
    },
  };
}

async function findLeader(members: readonly MusterMember[]): Promise<number> {
  for (const end = Date.now() + START_TIMEOUT_MS; Date.now() < end; ) {
    const answers = await Promise.all(members.filter((m) => m.process).map((m) => statusOf(m.clientUrl)));
    const [first] = answers;
    if (first && first.leader !== undefined && answers.every((a) => a?.leader === first.leader)) {
      const alive = members.filter((m) => m.process);
      const at = answers.findIndex((a) => a?.header.member_id === first.leader);
      if (at >= 0) return members.indexOf(alive[at] as MusterMember);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('the members did not agree on a leader in time');
}

/** etcd's maintenance status of one member, or `undefined` when it does not answer. */
export async function statusOf(
  clientUrl: string,
): Promise<{ leader?: string; header: { member_id: string; revision: string } } | undefined> {
  try {
    const response = await fetch(`${clientUrl}/v3/maintenance/status`, {
      method: 'POST',
      body: '{}',
      signal: AbortSignal.timeout(2000),
    });
    return response.ok ? ((await response.json()) as Awaited<ReturnType<typeof statusOf>>) : undefined;
  } catch {
    return undefined;
  }
}
