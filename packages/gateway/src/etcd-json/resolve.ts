/** What a request under `/v3` is, before its body is read. */
import type { EtcdJson } from './etcd-json.ts';
import { type CountedRoute, ROUTE_PREFIXES } from './routes.ts';

type Resolved =
  | { readonly type: 'route'; readonly route: CountedRoute }
  /** A plain text answer; `location` with a redirect. */
  | {
      readonly type: 'plain';
      readonly status: 301 | 404 | 405;
      readonly text: string;
      readonly location?: string;
    };

const NOT_FOUND: Resolved = { type: 'plain', status: 404, text: 'Not Found\n' };
const METHOD_NOT_ALLOWED: Resolved = { type: 'plain', status: 405, text: 'Method Not Allowed\n' };

/** True for what belongs to etcd's JSON: `/v3`, `/v3beta` and everything below. */
export function isEtcdPath(url: string): boolean {
  if (!url.startsWith('/v3')) return false;
  const rest = url.startsWith('/v3beta') ? url.charAt(7) : url.charAt(3);
  return rest === '/' || rest === '?' || rest === '';
}

/** `url` is a request's target as it came, with its query. Only for paths that `isEtcdPath`. */
export function resolveEtcd(json: EtcdJson, method: string, url: string): Resolved {
  const direct = json.route(url);
  if (direct !== undefined && method === 'POST') return { type: 'route', route: direct };
  const path = decodePath(url);
  if (path === '/v3' || path === '/v3beta') {
    return { type: 'plain', status: 301, text: '', location: `${path}/` };
  }
  const route = path === undefined ? undefined : json.route(path);
  if (route === undefined) return NOT_FOUND;
  return method === 'POST' ? { type: 'route', route } : METHOD_NOT_ALLOWED;
}

function decodePath(url: string): string | undefined {
  const query = url.indexOf('?');
  const path = query < 0 ? url : url.slice(0, query);
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

/** The path of a WebSocket's target; `undefined` when it is not below one of etcd's prefixes. */
export function etcdSocketPath(url: string): string | undefined {
  const path = decodePath(url);
  return path !== undefined && ROUTE_PREFIXES.some((prefix) => path.startsWith(prefix)) ? path : undefined;
}
