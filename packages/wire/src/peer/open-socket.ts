import { connect, isIP, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { PeerEnv } from './env.ts';
import type { PeerAddress } from './peer-url.ts';

/** Never throws: what is wrong with the address (or the sentence in its place) comes as the socket's error. */
export function openSocket(address: PeerAddress | string, env: Pick<PeerEnv, 'tls'>): Socket {
  if (typeof address === 'string') return failed(address);
  const { host, port, tls } = address;
  if (tls !== true) return connect({ host, port, noDelay: true });
  if (env.tls === undefined)
    return failed(`${host}:${port} wants TLS, and this member has no peer certificate`);
  const servername = isIP(host) === 0 ? { servername: host } : {};
  return connectTls({ host, port, ...servername, ...env.tls.clientOptions });
}

function failed(reason: string): Socket {
  return new Socket().destroy(new Error(reason));
}
