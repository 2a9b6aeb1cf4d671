/**
 * CORS. Under etcd's paths the three headers are etcd's own, sent with every answer when every origin is allowed and
 * otherwise only to the origins listed. Elsewhere browsers also learn which of Muster's headers they may read.
 */
import type { MiddlewareHandler } from 'hono';

/** Name, value, name, value: as node's `writeHead` takes them. */
export type RawHeaders = readonly string[];

const METHODS = 'POST, GET, OPTIONS, PUT, DELETE';
const HEADERS = 'accept, content-type, authorization';

/** `origins` is etcd's `--cors`: `*` allows all. Returns the headers for a request from `origin`. */
export function etcdCors(origins: readonly string[]): (origin: string | undefined) => RawHeaders {
  const headersFor = (origin: string): RawHeaders => [
    'Access-Control-Allow-Headers',
    HEADERS,
    'Access-Control-Allow-Methods',
    METHODS,
    'Access-Control-Allow-Origin',
    origin,
  ];
  const everyone = headersFor('*');
  if (origins.includes('*')) return () => everyone;
  const allowed = new Set(origins);
  return (origin) => (origin !== undefined && allowed.has(origin) ? headersFor(origin) : []);
}

/** Headers of `/v1` answers that scripts in a browser may read. */
const EXPOSED_HEADERS: readonly string[] = [
  'ETag',
  'Link',
  'Location',
  'Preference-Applied',
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'X-Store-Revision',
  'X-Store-Epoch',
  'X-Mod-Revision',
  'X-Create-Revision',
  'X-Key-Version',
  'X-Lease-Id',
  'X-Request-Id',
  'traceparent',
];

const REST_METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS';
const REST_HEADERS = [
  'accept',
  'authorization',
  'content-type',
  'idempotency-key',
  'if-match',
  'if-none-match',
  'last-event-id',
  'prefer',
  'traceparent',
  'x-namespace',
  'x-request-id',
  'x-timeout',
].join(', ');
const PREFLIGHT_SECONDS = 600;

/** For Muster's own paths. `allowed` holds origins such as `https://a.example`, or `*`. */
export function restCors(allowed: readonly string[]): MiddlewareHandler {
  const everyone = allowed.includes('*');
  const listed = new Set(allowed);
  return async function restCors(c, next) {
    const origin = c.req.header('origin');
    const granted = everyone ? '*' : origin !== undefined && listed.has(origin) ? origin : undefined;
    if (c.req.method === 'OPTIONS') c.res = new Response(null, { status: 204 });
    else await next();
    if (!everyone) c.res.headers.append('Vary', 'Origin');
    if (granted === undefined) return;
    c.res.headers.set('Access-Control-Allow-Origin', granted);
    if (c.req.method === 'OPTIONS') {
      c.res.headers.set('Access-Control-Allow-Methods', REST_METHODS);
      c.res.headers.set('Access-Control-Allow-Headers', REST_HEADERS);
      c.res.headers.set('Access-Control-Max-Age', String(PREFLIGHT_SECONDS));
    } else {
      c.res.headers.set('Access-Control-Expose-Headers', EXPOSED_HEADERS.join(', '));
    }
  };
}
