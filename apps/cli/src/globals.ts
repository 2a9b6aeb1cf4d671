import { Failure } from './failure.ts';
import type { Duration } from './line/duration.ts';
import { BadFlagValue, bool, duration, type FlagValues, string, strings } from './line/flag.ts';

export const FORMATS = ['simple', 'fields', 'json', 'protobuf', 'table'] as const;
export type Format = (typeof FORMATS)[number];

/** Flags of every command, with etcdctl's names and defaults. */
export const GLOBAL_FLAGS = {
  cacert: string('verify certificates of TLS-enabled secure servers using this CA bundle', '', {
    file: true,
  }),
  cert: string('identify secure client using this TLS certificate file', '', { file: true }),
  'command-timeout': duration('timeout for short running command (excluding dial timeout)', '5s'),
  debug: bool('enable client-side debug logging'),
  'dial-timeout': duration('dial timeout for client connections', '2s'),
  'discovery-srv': string('refused: name the endpoints instead', '', { short: 'd' }),
  'discovery-srv-name': string('refused: name the endpoints instead'),
  endpoints: strings('gRPC endpoints', ['127.0.0.1:2379']),
  hex: bool('print byte strings as hex encoded strings'),
  'insecure-discovery': bool('accepted for the sake of scripts; there is no discovery', true),
  'insecure-skip-tls-verify': bool(
    'skip server certificate verification (CAUTION: this option should be enabled only for testing purposes)',
  ),
  'insecure-transport': bool('disable transport security for client connections', true),
  'keepalive-time': duration('keepalive time for client connections', '2s'),
  'keepalive-timeout': duration('keepalive timeout for client connections', '6s'),
  key: string('identify secure client using this TLS key file', '', { file: true }),
  password: string(
    "password for authentication (if this option is used, --user option shouldn't include password)",
  ),
  user: string('username[:password] for authentication (prompt if password is not supplied)'),
  'write-out': string('set the output format', 'simple', { short: 'w', choices: FORMATS }),
};

export type Globals = FlagValues<typeof GLOBAL_FLAGS>;

/** The first that is set counts. */
const PREFIXES = ['MUSTERCTL_', 'ETCDCTL_'] as const;
/** Means something to etcdctl alone, or to the start-up of musterctl. */
const OTHERS = new Set([
  'ETCDCTL_API',
  'ETCDCTL_WATCH_KEY',
  'ETCDCTL_WATCH_RANGE_END',
  'MUSTERCTL_DEBUG_STACK',
  'MUSTERCTL_NAME',
  'MUSTERCTL_NODE',
]);

/**
 * Global flags out of the environment, by etcdctl's rules: an empty variable is none, one beside its flag is a fatal
 * conflict, one that names no flag is worth a warning.
 */
export function withEnvironment(
  values: Readonly<Record<string, unknown>>,
  given: ReadonlySet<string>,
  env: Readonly<Record<string, string | undefined>>,
  warn: (message: string) => void,
): Globals {
  const merged: Record<string, unknown> = { ...values };
  const known = new Set<string>(OTHERS);
  for (const [name, flag] of Object.entries(GLOBAL_FLAGS)) {
    for (const prefix of [...PREFIXES].reverse()) {
      const variable = prefix + name.toUpperCase().replaceAll('-', '_');
      known.add(variable);
      const text = env[variable];
      if (text === undefined || text === '') continue;
      if (given.has(name)) {
        throw new Failure(
          `conflicting environment variable "${variable}" is shadowed by corresponding command-line flag ` +
            '(either unset environment variable or disable flag)',
        );
      }
      try {
        merged[name] = flag.parse(text);
      } catch (error) {
        if (!(error instanceof BadFlagValue)) throw error;
        const shown = name === 'password' || name === 'user' ? '' : ` ${JSON.stringify(text)}`;
        throw new Failure(`invalid value${shown} for ${variable}: ${error.message}`);
      }
    }
  }
  for (const variable of Object.keys(env)) {
    if (PREFIXES.some((prefix) => variable.startsWith(prefix)) && !known.has(variable)) {
      warn(`unrecognized environment variable ${variable}`);
    }
  }
  return merged as Globals;
}

/** How long one short call may take, in milliseconds; at least 1. */
export function callTimeoutMs(timeout: Duration): number {
  return Math.max(1, Math.round(timeout.ms));
}
