import type { Server, TLSSocket } from 'node:tls';
import type { TlsIdentity } from './identity.ts';

/**
 * Makes a TLS server follow the identity's files and hand on only callers that it admits: `admitted` takes the place
 * of the server's own listener. For `tls.createServer` and `https.createServer` alike, made with the identity's
 * `serverOptions`.
 */
export function guardTls(server: Server, identity: TlsIdentity, admitted: (socket: TLSSocket) => void): void {
  let edition = identity.edition;
  server.prependListener('connection', () => {
    identity.refresh();
    // Others use the identity too, and may have been the ones who saw that the files are new.
    if (identity.edition === edition) return;
    edition = identity.edition;
    server.setSecureContext(identity.serverOptions);
  });
  server.removeAllListeners('secureConnection');
  server.on('secureConnection', (socket) => {
    if (identity.admits(socket)) admitted(socket);
    else socket.on('error', () => {}).destroy();
  });
  server.removeAllListeners('tlsClientError');
  server.on('tlsClientError', (error, socket) => {
    identity.handshakeFailed(error, socket);
    socket.destroy();
  });
}
