import type { Socket } from 'node:net';
import type { Context } from 'hono';

type NodeEnv = { readonly incoming?: { readonly socket?: Socket } };

/** Whether a connection is TLS, also where HTTP/2 shows another object in its place. */
export function isEncrypted(socket: Socket | undefined): boolean {
  return (socket as { readonly encrypted?: boolean } | undefined)?.encrypted === true;
}

/** Whether the request came over TLS. */
export function isSecure(c: Context): boolean {
  return isEncrypted(((c.env ?? {}) as NodeEnv).incoming?.socket);
}

/** The client's address, where the request came over node's HTTP. What a proxy says of its clients is not believed. */
export function sourceOf(c: Context): string | undefined {
  return ((c.env ?? {}) as NodeEnv).incoming?.socket?.remoteAddress;
}
