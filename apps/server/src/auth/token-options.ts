import { durationMs } from '../flag-values.ts';
import { StartRefused } from '../start-refused.ts';

/** What `--auth-token` asks for. */
export type TokenOptions =
  | { readonly type: 'simple' }
  | {
      readonly type: 'jwt';
      readonly method: SignMethod;
      readonly publicKeyFile: string | undefined;
      readonly privateKeyFile: string | undefined;
      readonly ttlMs: number;
    };

const SIGN_METHODS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'HS256',
  'HS384',
  'HS512',
  'EdDSA',
] as const;
export type SignMethod = (typeof SIGN_METHODS)[number];

/** etcd's. */
const JWT_TTL_MS = 5 * 60_000;
const JWT_OPTIONS = ['pub-key', 'priv-key', 'sign-method', 'ttl'];

/** Reads `simple` or `jwt,pub-key=..,priv-key=..,sign-method=..,ttl=..`. Throws `StartRefused`. */
export function tokenOptions(text: string): TokenOptions {
  const [type, ...pairs] = text.split(',');
  const options = new Map<string, string>();
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1 || options.has(pair.slice(0, at))) {
      throw refused(text, `"${pair}" is not an option=value that stands there once`);
    }
    options.set(pair.slice(0, at), pair.slice(at + 1));
  }
  if (type === 'simple') return { type };
  if (type !== 'jwt') throw refused(text, `unknown type "${type}"; expected simple or jwt`);
  return jwtOptions(text, options);
}

function jwtOptions(text: string, options: ReadonlyMap<string, string>): TokenOptions {
  for (const name of options.keys()) {
    if (!JWT_OPTIONS.includes(name)) {
      throw refused(text, `unknown option "${name}"; expected one of ${JWT_OPTIONS.join(', ')}`);
    }
  }
  const asked = options.get('sign-method');
  const method = SIGN_METHODS.find((known) => known === asked);
  if (method === undefined) {
    throw refused(text, `sign-method is "${asked ?? ''}"; expected one of ${SIGN_METHODS.join(', ')}`);
  }
  const publicKeyFile = options.get('pub-key');
  const privateKeyFile = options.get('priv-key');
  if (publicKeyFile === undefined && privateKeyFile === undefined) {
    throw refused(text, 'there is neither pub-key nor priv-key');
  }
  if (method.startsWith('HS') && privateKeyFile === undefined) {
    throw refused(text, `${method} takes the shared secret as priv-key`);
  }
  const ttl = options.get('ttl');
  const ttlMs = ttl === undefined ? JWT_TTL_MS : durationMs(ttl);
  if (ttlMs === undefined || ttlMs <= 0)
    throw refused(text, `ttl is "${ttl}"; expected a duration such as 10m`);
  return { type: 'jwt', method, publicKeyFile, privateKeyFile, ttlMs };
}

function refused(text: string, why: string): StartRefused {
  return new StartRefused(`--auth-token="${text}": invalid auth options: ${why}`);
}
