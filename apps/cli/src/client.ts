import { readFile } from 'node:fs/promises';
import type { CallOptions, ConcurrencyApi, EtcdApi } from '@muster/kv';
import { badArgs, Exit, Failure } from './failure.ts';
import { callTimeoutMs, type Globals } from './globals.ts';
import type { Io } from './io.ts';

/** A connection to a cluster. */
export type EtcdClient = {
  readonly api: EtcdApi;
  readonly concurrency: ConcurrencyApi;
  readonly endpoints: readonly string[];
  /** Bounds a short call by --command-timeout. Without `short` only the signal ends it. */
  options(signal?: AbortSignal): CallOptions;
  close(): void | Promise<void>;
};

/** How a cluster is reached. */
export type ConnectSpec = {
  readonly endpoints: readonly string[];
  readonly cacert: string;
  readonly cert: string;
  readonly key: string;
  readonly skipVerify: boolean;
  readonly insecureTransport: boolean;
  readonly credentials: { readonly name: string; readonly password: string } | undefined;
};

/** As the global flags say. Asks for a password where only a user is named and there is a terminal. */
export async function specOf(globals: Globals, io: Io): Promise<ConnectSpec> {
  if (globals['discovery-srv'] !== '' || globals['discovery-srv-name'] !== '') {
    throw new Failure(
      '--discovery-srv is not supported: name the cluster with --endpoints host:port,host:port',
      Exit.BAD_FEATURE,
    );
  }
  if (globals.endpoints.length === 0)
    throw badArgs('no endpoints: expected --endpoints host:port[,host:port]');
  return {
    endpoints: globals.endpoints,
    cacert: globals.cacert,
    cert: globals.cert,
    key: globals.key,
    skipVerify: globals['insecure-skip-tls-verify'],
    insecureTransport: globals['insecure-transport'],
    credentials: await credentialsOf(globals, io),
  };
}

export async function connectTo(spec: ConnectSpec, globals: Globals, io: Io): Promise<EtcdClient> {
  const [{ connectEtcd }, tls] = await Promise.all([import('@muster/wire/client'), tlsOf(spec)]);
  let remote: ReturnType<typeof connectEtcd>;
  try {
    remote = connectEtcd({
      endpoints: spec.endpoints.map((endpoint) => addressOf(endpoint, spec)),
      ...(tls && { tls }),
      ...(spec.credentials && { credentials: spec.credentials }),
      dialTimeoutMs: callTimeoutMs(globals['dial-timeout']),
      keepaliveTimeMs: Math.max(KEEPALIVE_MIN_MS, globals['keepalive-time'].ms),
      keepaliveTimeoutMs: globals['keepalive-timeout'].ms,
      ...(globals.debug && { log: debugLog(io) }),
    });
  } catch (error) {
    if (error instanceof TypeError) throw badArgs(error.message);
    throw error;
  }
  const timeoutMs = callTimeoutMs(globals['command-timeout']);
  return {
    api: remote.api,
    concurrency: remote.concurrency,
    endpoints: spec.endpoints,
    options: (signal) => (signal ? { timeoutMs, signal } : { timeoutMs }),
    close: () => remote.close(),
  };
}

/** Clients of etcd never ping oftener, whatever they are told (reference 6.4). */
const KEEPALIVE_MIN_MS = 10_000;

/** An endpoint without a scheme is TLS where certificates, or no plain transport, are asked for. */
function addressOf(endpoint: string, spec: ConnectSpec): string {
  if (/^(https?:\/\/|unixs?:)/.test(endpoint)) return endpoint;
  const secure = !spec.insecureTransport || spec.cacert !== '' || spec.cert !== '' || spec.skipVerify;
  return `${secure ? 'https' : 'http'}://${endpoint}`;
}

async function tlsOf(spec: ConnectSpec) {
  if ((spec.cert === '') !== (spec.key === '')) {
    throw badArgs(`KeyFile and CertFile must both be present[key: ${spec.key}, cert: ${spec.cert}]`);
  }
  const [ca, cert, key] = await Promise.all([spec.cacert, spec.cert, spec.key].map(readIfNamed));
  const anything = ca || cert || spec.skipVerify || !spec.insecureTransport;
  if (!anything && spec.endpoints.every((endpoint) => !/^(https:|unixs:)/.test(endpoint))) return undefined;
  return {
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(spec.skipVerify && { insecureSkipVerify: true }),
  };
}

async function readIfNamed(path: string): Promise<string | undefined> {
  if (path === '') return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw badArgs(fileErrorText('open', path, error));
  }
}

/** As Go words it: `open x: no such file or directory`. */
export function fileErrorText(operation: string, path: string, error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const text = FILE_ERRORS[code] ?? (error instanceof Error ? error.message : String(error));
  return `${operation} ${path}: ${text}`;
}

const FILE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EISDIR: 'is a directory',
  ENOTDIR: 'not a directory',
  ENOSPC: 'no space left on device',
  EROFS: 'read-only file system',
  EEXIST: 'file exists',
};

async function credentialsOf(globals: Globals, io: Io): Promise<ConnectSpec['credentials']> {
  const { user, password } = globals;
  if (user === '') return undefined;
  const colon = user.indexOf(':');
  if (password !== '') return { name: user, password };
  if (colon >= 0) return { name: user.slice(0, colon), password: user.slice(colon + 1) };
  const { readPassword } = await import('./commands/password.ts');
  return { name: user, password: await readPassword('Password: ', io) };
}

function debugLog(io: Io) {
  const write = (level: string) => (fields: object, message: string) =>
    io.err(`${JSON.stringify({ level, ts: new Date().toISOString(), msg: message, ...fields })}\n`);
  return { debug: write('debug'), warn: write('warn') };
}
