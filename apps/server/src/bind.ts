import type { PeerAddress } from '@muster/wire';
import { StartRefused } from './command-line.ts';

/** Where to bind: a port, or a Unix socket. */
export type BindAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * Where to bind for a URL. `localhost` is the IPv4 loopback, as etcd binds it; the path of a Unix socket is what comes
 * after the slashes.
 */
export function bindAddress(url: string): BindAddress {
  const socket = /^unixs?:\/\/(.*)$/.exec(url)?.[1];
  return socket === undefined ? tcpAddress(url) : { path: socket };
}

/** Where to bind for a peer URL. */
export function peerBindAddress(url: string): PeerAddress {
  return { ...tcpAddress(url), tls: url.startsWith('https:') };
}

function tcpAddress(url: string): { readonly host: string; readonly port: number } {
  const match = /^[^:]*:\/\/(.*):(\d+)$/.exec(url);
  const host = (match?.[1] ?? '').replace(/^\[(.*)\]$/, '$1');
  return { host: host === 'localhost' ? '127.0.0.1' : host, port: Number(match?.[2]) };
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'address already in use',
  EACCES: 'permission denied',
  EADDRNOTAVAIL: 'cannot assign requested address',
  ENOENT: 'no such file or directory',
};

/** Why an address cannot be bound, in etcd's words where it has some. */
export function bindRefusal(error: unknown, address: BindAddress): unknown {
  const reason = REASONS[(error as NodeJS.ErrnoException).code ?? ''];
  if (reason === undefined) return error;
  if ('path' in address) return new StartRefused(`listen unix ${address.path}: bind: ${reason}`);
  const { host, port } = address;
  return new StartRefused(`listen tcp ${host.includes(':') ? `[${host}]` : host}:${port}: bind: ${reason}`);
}
