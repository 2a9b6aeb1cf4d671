/** What a server tells about itself outside its APIs: health, version and metrics, at etcd's paths and in its words. */
import type { EtcdApi } from '@muster/kv';
import { type Context, Hono } from 'hono';
import { type Check, checkHealth, LIVEZ_CHECKS, READYZ_CHECKS, runChecks } from './health.ts';
import type { Metrics } from './metrics.ts';

export type VersionInfo = {
  /** Full versions of three numbers. `cluster` is `not_decided` until the members agree on one. */
  readonly server: string;
  readonly cluster: string;
  readonly storage: string;
};

type OpsDeps = {
  readonly api: EtcdApi;
  readonly metrics: Metrics;
  readonly version: () => VersionInfo;
};

/** Milliseconds a health check may take. */
const HEALTH_TIMEOUT_MS = 5000;
/** The checks are the server's own: they say how it is to callers without credentials too. */
const OPTIONS = { timeoutMs: HEALTH_TIMEOUT_MS, internal: true };

const TEXT = { 'Content-Type': 'text/plain; charset=utf-8' };

export function opsRoutes({ api, metrics, version }: OpsDeps): Hono {
  const app = new Hono();
  app.get('/health', async (c) => {
    if (c.req.method !== 'GET') return onlyGet();
    const query = {
      exclude: c.req.queries('exclude') ?? [],
      serializable: c.req.query('serializable') === 'true',
    };
    const { ok, reason } = await checkHealth(api, query, OPTIONS);
    metrics.health(ok);
    return c.body(JSON.stringify({ health: String(ok), reason }), ok ? 200 : 503, TEXT);
  });
  checkRoutes(app, api, 'livez', LIVEZ_CHECKS);
  checkRoutes(app, api, 'readyz', READYZ_CHECKS);
  app.get('/version', (c) => {
    if (c.req.method !== 'GET') return onlyGet();
    const { server, cluster, storage } = version();
    return c.json({ etcdserver: server, etcdcluster: cluster, storage });
  });
  app.all('/metrics', async (c) => {
    return c.body(await metrics.scrape(), 200, { 'Content-Type': metrics.registry.contentType });
  });
  for (const path of ['/health', '/livez', '/readyz', '/version']) app.all(path, onlyGet);
  return app;
}

function checkRoutes(app: Hono, api: EtcdApi, name: string, checks: ReadonlyMap<string, Check>): void {
  const answer = async (
    c: Context,
    selected: ReadonlyMap<string, Check>,
    label: string,
  ): Promise<Response> => {
    const query = {
      verbose: c.req.query('verbose') !== undefined,
      exclude: c.req.queries('exclude') ?? [],
    };
    const { ok, text } = await runChecks(label, selected, api, query, OPTIONS);
    return c.body(text, ok ? 200 : 503, TEXT);
  };
  app.get(`/${name}`, (c) => answer(c, checks, name));
  app.get(`/${name}/:check`, (c) => {
    const check = c.req.param('check');
    const run = checks.get(check);
    return run === undefined ? pageNotFound() : answer(c, new Map([[check, run]]), check);
  });
}

function onlyGet(): Response {
  return plain(405, 'Method Not Allowed\n', { Allow: 'GET' });
}

/** What etcd says to paths that it does not know. */
export function pageNotFound(): Response {
  return plain(404, '404 page not found\n');
}

function plain(status: number, text: string, headers: Record<string, string> = {}): Response {
  return new Response(text, {
    status,
    headers: { ...TEXT, 'X-Content-Type-Options': 'nosniff', ...headers },
  });
}
