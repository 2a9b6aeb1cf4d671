import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

export type CommonNameCheck = (socket: Socket) => string | undefined;

const REFUSAL =
  'CommonName of client sending a request against gateway will be ignored and not used as expected\n';

/**
 * etcd's refusal under `/v3`: over gRPC the name in a client's certificate is its user, here it would not be, so that a
 * caller with one is told instead of being taken for nobody. Only while users count, and for verified certificates.
 */
export function commonNameCheck(authEnabled: () => boolean): CommonNameCheck {
  const named = new WeakMap<Socket, boolean>();
  return (socket) => {
    if (!(socket instanceof TLSSocket) || !authEnabled()) return undefined;
    let has = named.get(socket);
    if (has === undefined) {
      has = socket.authorized && hasName(socket);
      named.set(socket, has);
    }
    return has ? REFUSAL : undefined;
  };
}

function hasName(socket: TLSSocket): boolean {
  // Without a certificate node answers an empty object, whatever its types say.
  const subject: { readonly CN?: string | readonly string[] } | undefined =
    socket.getPeerCertificate().subject;
  return (subject?.CN ?? '').length > 0;
}
