/** Where a request of `/v1` carries its token. */
import type { IncomingMessage } from 'node:http';

const SCHEME = /^bearer +(\S+)$/i;
/** Browsers cannot set a socket's headers, but can offer protocols. */
const TOKEN_PROTOCOL = 'bearer.';

/** The token of an `Authorization` header; another scheme is somebody else's, such as a proxy's. */
export function bearerToken(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : SCHEME.exec(authorization)?.[1];
}

export function socketToken({ headers }: IncomingMessage): string | undefined {
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim());
  const protocol = offered.find((name) => name.startsWith(TOKEN_PROTOCOL));
  return protocol?.slice(TOKEN_PROTOCOL.length) ?? bearerToken(headers.authorization);
}
