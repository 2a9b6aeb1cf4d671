import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from './child.ts';
import { freePorts } from './ports.ts';

export type EtcdProcess = { readonly url: string; readonly child: Child; stop(): Promise<void> };

/** One real etcd with data of its own in a temporary directory, ready to serve. */
export async function startEtcd(program: string, flags: readonly string[] = []): Promise<EtcdProcess> {
  const dir = mkdtempSync(join(tmpdir(), 'muster-etcd-'));
  const [clientPort, peerPort] = await freePorts(2);
  const url = `http://127.0.0.1:${clientPort}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const child = new Child(program, [
    '--name=one',
    `--data-dir=${join(dir, 'data')}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=one=${peer}`,
    '--unsafe-no-fsync',
    '--logger=zap',
    ...flags,
  ]);
  const remove = () => rmSync(dir, { recursive: true, force: true });
  try {
    await child.ready(() => healthy(url));
  } catch (error) {
    await child.stop('SIGKILL');
    remove();
    throw error;
  }
  return {
    url,
    child,
    stop: async () => {
      await child.stop('SIGKILL');
      remove();
    },
  };
}

/** Resolves when the server at `url` serves linearizable requests. */
export async function healthy(url: string): Promise<void> {
  const response = await fetch(`${url}/v3/kv/range`, { method: 'POST', body: '{"key":"AA=="}' });
  await response.arrayBuffer();
  if (response.status !== 200) throw new Error(`${url}: HTTP ${response.status}`);
}
