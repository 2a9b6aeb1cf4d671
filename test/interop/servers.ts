/**
 * What foreign clients are tried on: the real etcd first, because that shows the test itself to be right, then Muster.
 * Plain, or over TLS with a certificate for every client.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CertificateAuthority, type KeyPair } from '../support/certificates.ts';
import { Child } from '../support/child.ts';
import { debianProgram } from '../support/debian.ts';
import { freePorts } from '../support/ports.ts';

export const KINDS = ['etcd', 'muster'] as const;
type Kind = (typeof KINDS)[number];

export type ClientTls = { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer };

/** Paths of PEM files. */
type CertificateFiles = { readonly ca: string; readonly server: KeyPair; readonly client: KeyPair };

export type Servers = {
  /** `host:port` of each member. */
  readonly addresses: readonly string[];
  /** URLs of each member. */
  readonly endpoints: readonly string[];
  /** Where the servers ask for certificates. */
  readonly tls: ClientTls | undefined;
  /** The files of it. */
  readonly files: CertificateFiles | undefined;
  readonly children: readonly Child[];
  stop(): Promise<void>;
};

/** Generous, for a machine that is busy with other tests; a process that ends is noticed at once. */
const START_TIMEOUT_MS = 60_000;
/** etcd 3.4 says the second, newer ones and Muster the first. */
export const SERVING = /ready to serve client requests|serving (secure )?client (traffic|requests)/;
export const MUSTER_MAIN = new URL('../../apps/server/src/main.ts', import.meta.url).pathname;

/** Whether servers of a kind can run here; loud when not. */
export function canRun(kind: Kind): boolean {
  return kind === 'muster' || debianProgram('etcd', 'etcd-server') !== undefined;
}

/** `size` members of one cluster, serving. */
export async function startServers(
  kind: Kind,
  options: { readonly size?: number; readonly tls?: boolean; readonly flags?: readonly string[] } = {},
): Promise<Servers> {
  const { size = 1, tls = false, flags = [] } = options;
  const dir = mkdtempSync(join(tmpdir(), `muster-interop-${kind}-`));
  const ports = await freePorts(2 * size);
  const files = tls ? makeFiles() : undefined;
  const scheme = tls ? 'https' : 'http';
  const endpoints = ports.slice(0, size).map((port) => `${scheme}://127.0.0.1:${port}`);
  const peers = ports.slice(size).map((port) => `http://127.0.0.1:${port}`);
  const cluster = peers.map((url, i) => `m${i}=${url}`).join(',');
  const children = endpoints.map((endpoint, i) => {
    const args = [
      `--name=m${i}`,
      `--data-dir=${join(dir, `m${i}`)}`,
      `--listen-client-urls=${endpoint}`,
      `--advertise-client-urls=${endpoint}`,
      `--listen-peer-urls=${peers[i]}`,
      `--initial-advertise-peer-urls=${peers[i]}`,
      `--initial-cluster=${cluster}`,
      ...(files ? certificateFlags(files) : []),
      ...flags,
    ];
    return kind === 'etcd'
      ? new Child(debianProgram('etcd', 'etcd-server') as string, [
          ...args,
          '--logger=zap',
          '--unsafe-no-fsync',
        ])
      : new Child(process.execPath, [MUSTER_MAIN, ...args]);
  });
  const stop = async () => {
    await Promise.all(children.map((child) => child.stop('SIGKILL')));
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await Promise.all(
      children.map((child) =>
        child.ready(async () => assert.ok(SERVING.test(child.output)), START_TIMEOUT_MS),
      ),
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    addresses: ports.slice(0, size).map((port) => `127.0.0.1:${port}`),
    endpoints,
    tls: files && {
      ca: readFileSync(files.ca),
      cert: readFileSync(files.client.cert),
      key: readFileSync(files.client.key),
    },
    files,
    children,
    stop,
  };
}

function makeFiles(): CertificateFiles {
  const authority = new CertificateAuthority();
  return {
    ca: authority.cert,
    server: authority.issue({ name: '127.0.0.1' }),
    client: authority.issue({ name: 'client', usage: 'clientAuth' }),
  };
}

function certificateFlags({ ca, server }: CertificateFiles): string[] {
  return [
    `--cert-file=${server.cert}`,
    `--key-file=${server.key}`,
    `--trusted-ca-file=${ca}`,
    '--client-cert-auth',
  ];
}
