/** Several real etcd members that can be stopped and started again. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from './child.ts';
import { healthy } from './etcd.ts';
import { freePorts } from './ports.ts';

type EtcdMember = {
  readonly clientUrl: string;
  /** The pid of the running process. */
  readonly pid: number | undefined;
  start(): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Sends a signal that the process outlives. */
  signal(signal: NodeJS.Signals): void;
};

type EtcdCluster = {
  readonly members: readonly EtcdMember[];
  readonly endpoints: readonly string[];
  close(): Promise<void>;
};

/** Starts `size` members of the real etcd and waits until all serve. */
export async function startEtcdCluster(
  program: string,
  size: number,
  flags: readonly string[] = [],
): Promise<EtcdCluster> {
  const ports = await freePorts(size * 2);
  const dir = mkdtempSync(join(tmpdir(), 'muster-etcds-'));
  const names = Array.from({ length: size }, (_, i) => `e${i + 1}`);
  const peerUrl = (i: number) => `http://127.0.0.1:${ports[size + i]}`;
  const initialCluster = names.map((name, i) => `${name}=${peerUrl(i)}`).join(',');
  const members = names.map((name, i) => {
    const clientUrl = `http://127.0.0.1:${ports[i]}`;
    return makeMember(program, clientUrl, [
      `--name=${name}`,
      `--data-dir=${join(dir, name)}`,
      `--listen-client-urls=${clientUrl}`,
      `--advertise-client-urls=${clientUrl}`,
      `--listen-peer-urls=${peerUrl(i)}`,
      `--initial-advertise-peer-urls=${peerUrl(i)}`,
      `--initial-cluster=${initialCluster}`,
      '--unsafe-no-fsync',
      '--logger=zap',
      ...flags,
    ]);
  });
  const close = async () => {
    await Promise.all(members.map((member) => member.stop('SIGKILL')));
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await Promise.all(members.map((member) => member.start()));
  } catch (error) {
    await close();
    throw error;
  }
  return { members, endpoints: members.map((member) => member.clientUrl), close };
}

function makeMember(program: string, clientUrl: string, args: readonly string[]): EtcdMember {
  let child: Child | undefined;
  return {
    clientUrl,
    get pid() {
      return child?.process.pid;
    },
    start: async () => {
      child = new Child(program, args);
      await child.ready(() => healthy(clientUrl));
    },
    stop: async (signal = 'SIGTERM') => {
      await child?.stop(signal);
      child = undefined;
    },
    signal: (signal) => {
      child?.process.kill(signal);
    },
  };
}
