import type { Context } from 'hono';

/** The client's address, where the request came over node's HTTP. What a proxy says of its clients is not believed. */
export function sourceOf(c: Context): string | undefined {
  const { incoming } = (c.env ?? {}) as { incoming?: { socket?: { remoteAddress?: string } } };
  return incoming?.socket?.remoteAddress;
}
