import type { Prng } from '@muster/base';
import type { MiddlewareHandler } from 'hono';

/** What is taken over from a client: short and harmless in a log line. */
const ACCEPTABLE = /^[\w.:-]{1,64}$/;

/** Names every request: the client's `X-Request-Id` when it is usable, else a fresh one. Kept as `requestId`. */
export function requestId(prng: Prng): MiddlewareHandler {
  return async function requestId(c, next) {
    const given = c.req.header('x-request-id');
    const id =
      given !== undefined && ACCEPTABLE.test(given) ? given : prng.uint64().toString(16).padStart(16, '0');
    c.set('requestId', id);
    await next();
    c.res.headers.set('X-Request-Id', id);
  };
}
