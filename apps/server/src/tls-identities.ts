/** The certificates that a member shows and trusts, on its two ports. */
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { selfSigned, TlsFilesRefused, TlsIdentity } from '@muster/wire';
import { StartRefused } from './command-line.ts';
import type { Config } from './config.ts';
import type { TlsConfig } from './config-tls.ts';
import type { Logger } from './logger.ts';

export type TlsIdentities = {
  /** `undefined` where a port speaks no TLS. */
  readonly client: TlsIdentity | undefined;
  readonly peer: TlsIdentity | undefined;
};

/** Reads the files, and makes those that `--auto-tls` asks for. Throws `StartRefused`. */
export function openTls(config: Config, logger: Logger): TlsIdentities {
  const { clientTls, peerTls } = config;
  const clientUrls = [
    ...config.listenClientUrls,
    ...config.listenClientHttpUrls,
    ...config.listenMetricsUrls,
  ];
  return {
    client: clientTls && open('client', clientTls, clientUrls, config.dataDir, logger),
    peer: peerTls && open('peer', peerTls, config.listenPeerUrls, config.dataDir, logger),
  };
}

function open(
  port: 'client' | 'peer',
  tls: TlsConfig,
  urls: readonly string[],
  dataDir: string,
  log: Logger,
): TlsIdentity {
  const { selfSignedYears: years, policy } = tls;
  const made = years === undefined ? {} : ownFiles(join(dataDir, 'fixtures', port), urls, years);
  try {
    return new TlsIdentity({ name: `${port} port`, files: { ...tls.files, ...made }, policy, log });
  } catch (error) {
    if (error instanceof TlsFilesRefused) throw new StartRefused(error.message);
    throw error;
  }
}

/** A certificate signed by itself, kept for the next start as etcd keeps it, unless it has expired by then. */
function ownFiles(directory: string, urls: readonly string[], years: number) {
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
  if (isUsable(files.cert) && existsSync(files.key)) return files;
  const hosts = urls
    .filter((url) => url.startsWith('https:'))
    .map((url) => new URL(url).hostname.replace(/^\[(.*)\]$/, '$1'));
  const { cert, key } = selfSigned([...new Set([...hosts, 'localhost'])], years, Date.now());
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  writeFileSync(files.key, key, { mode: 0o600 });
  writeFileSync(files.cert, cert);
  return files;
}

function isUsable(path: string): boolean {
  if (!existsSync(path)) return false;
  try {
    return new X509Certificate(readFileSync(path)).validToDate.getTime() > Date.now();
  } catch {
    return false;
  }
}
