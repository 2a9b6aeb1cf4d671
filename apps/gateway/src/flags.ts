/** THE table of flags: parsing, environment and `--help` are made from it. */
import { parseArgs } from 'node:util';

/** Why the gateway does not start. */
export class StartRefused extends Error {
  override readonly name = 'StartRefused';
  /** 2 for arguments that cannot be read. */
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

class BadValue extends Error {}

type Flag<T> = { readonly fallback: string; readonly parse: (text: string) => T; readonly help: string };

const flag = <T>(parse: (text: string) => T, fallback: string, help: string): Flag<T> => ({
  fallback,
  parse,
  help,
});

const text = (value: string): string => value;

function boolean(value: string): boolean {
  if (value === 'true') return true;
  if (value === 'false') return false;
  throw new BadValue('expected true or false');
}

function positive(value: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number) || number === 0) {
    throw new BadValue('expected a whole number above 0');
  }
  return number;
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds; `0` too. */
function duration(value: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(value);
  if (value === '0') return 0;
  if (!match) throw new BadValue('expected a duration such as 250ms, 5s, 1m or 0');
  return Math.ceil(Number(match[1]) * (UNIT_MS[match[2] as string] as number));
}

function list(value: string): readonly string[] {
  return value
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
}

function listenUrls(value: string): readonly string[] {
  const urls = list(value);
  for (const url of urls) {
    if (!/^https?:\/\/(\[[0-9a-fA-F:.]+\]|[^/:?#[\]]+):\d{1,5}$/.test(url)) {
      throw new BadValue(`${url}: expected http://host:port or https://host:port`);
    }
  }
  if (urls.length === 0) throw new BadValue('expected at least one URL');
  return urls;
}

function origins(value: string): readonly string[] {
  const all = list(value);
  const bad = all.find((one) => one !== '*' && (!URL.canParse(one) || new URL(one).origin !== one));
  if (bad !== undefined) throw new BadValue(`${bad}: expected scheme://host:port without a path, or *`);
  return all;
}

const BALANCES = ['sticky', 'round-robin'] as const;

function balance(value: string): (typeof BALANCES)[number] {
  const found = BALANCES.find((one) => one === value);
  if (found === undefined) throw new BadValue(`expected one of ${BALANCES.join(', ')}`);
  return found;
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type Level = (typeof LEVELS)[number];

function level(value: string): Level {
  const found = LEVELS.find((one) => one === value);
  if (found === undefined) throw new BadValue(`expected one of ${LEVELS.join(', ')}`);
  return found;
}

const FLAGS = {
  endpoints: flag(list, '127.0.0.1:2379', 'Members of the cluster, comma-separated.'),
  'listen-urls': flag(listenUrls, 'http://127.0.0.1:2390', 'Where to serve, comma-separated.'),
  user: flag(text, '', 'User name, or name:password, of calls that bring no token of their own.'),
  password: flag(text, '', "The user's password."),
  cacert: flag(text, '', 'PEM file of the authorities that sign the members.'),
  cert: flag(text, '', 'PEM file of the certificate shown to the members.'),
  key: flag(text, '', 'PEM file of its key.'),
  'server-name': flag(text, '', "Name expected in the members' certificates instead of their address."),
  'insecure-skip-tls-verify': flag(boolean, 'false', 'Do not verify the members. For tests.'),
  balance: flag(balance, 'sticky', 'Stay with one member while it is well, or use all in turn: round-robin.'),
  'dial-timeout': flag(duration, '5s', 'How long a call waits for a connection to a member.'),
  'keepalive-time': flag(duration, '10s', 'Ping members after so much silence; 0 never.'),
  'keepalive-timeout': flag(duration, '6s', 'Give a connection up that answers no ping for so long.'),
  'auto-sync-interval': flag(duration, '0', 'Read the endpoints from the member list so often; 0 never.'),
  'cert-file': flag(text, '', 'PEM file of the certificate for https URLs.'),
  'key-file': flag(text, '', 'PEM file of its key.'),
  'trusted-ca-file': flag(text, '', "PEM file of the authorities of callers' certificates."),
  'client-cert-auth': flag(boolean, 'false', 'Callers without a certificate are refused.'),
  cors: flag(origins, '*', "Origins that may call etcd's paths from a browser."),
  'allowed-origins': flag(origins, '', 'Origins that may use /v1 and sockets from a browser.'),
  'host-whitelist': flag(list, '*', 'Host names that are answered.'),
  'max-request-bytes': flag(positive, '1572864', "The members' own limit of a request."),
  'max-txn-ops': flag(positive, '128', "The members' own limit of a transaction."),
  'max-connections': flag(positive, '20000', 'Open connections.'),
  'max-sockets': flag(positive, '10000', 'Open WebSockets.'),
  'max-streams': flag(positive, '10000', 'Open streams and held requests.'),
  'shutdown-timeout': flag(duration, '10s', 'How long running requests may take when the gateway stops.'),
  'log-level': flag(level, 'info', 'debug, info, warn or error.'),
} as const;

type Flags = typeof FLAGS;
type FlagName = keyof Flags;
export type FlagValues = { readonly [K in FlagName]: ReturnType<Flags[K]['parse']> };

export type CommandLine =
  | { readonly action: 'help' }
  | { readonly action: 'version' }
  | { readonly action: 'run'; readonly values: FlagValues };

const variableOf = (name: string): string => `MUSTER_GATEWAY_${name.toUpperCase().replaceAll('-', '_')}`;

/** Flags go before variables (`MUSTER_GATEWAY_LISTEN_URLS`), which go before defaults. Throws `StartRefused`. */
export function readCommandLine(args: readonly string[], env: NodeJS.ProcessEnv): CommandLine {
  const given = parsed(args);
  if (given.help) return { action: 'help' };
  if (given.version) return { action: 'version' };
  const values: Record<string, unknown> = {};
  for (const [name, { fallback, parse }] of Object.entries<Flag<unknown>>(FLAGS)) {
    const variable = env[variableOf(name)];
    const fromEnv = variable === undefined || variable === '' ? undefined : variable;
    const chosen = given[name] ?? fromEnv ?? fallback;
    const source = given[name] !== undefined ? `--${name}` : variableOf(name);
    try {
      values[name] = parse(chosen === true ? 'true' : String(chosen));
    } catch (error) {
      if (!(error instanceof BadValue)) throw error;
      throw new StartRefused(`invalid value ${JSON.stringify(chosen)} for ${source}: ${error.message}`, 2);
    }
  }
  return { action: 'run', values: values as FlagValues };
}

function parsed(args: readonly string[]): { readonly [name: string]: string | boolean | undefined } {
  const options: Record<string, { type: 'string' | 'boolean' }> = {
    help: { type: 'boolean' },
    version: { type: 'boolean' },
  };
  for (const name of Object.keys(FLAGS)) options[name] = { type: 'string' };
  // A boolean may stand alone, as with etcd's flags.
  const bare = Object.entries<Flag<unknown>>(FLAGS).filter(([, { parse }]) => parse === boolean);
  const whole = args.map((arg) => (bare.some(([name]) => arg === `--${name}`) ? `${arg}=true` : arg));
  try {
    return parseArgs({ args: whole, options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new StartRefused(`${(error as Error).message}\nSee 'muster-gateway --help'.`, 2);
  }
}

export function helpText(): string {
  const lines = Object.entries<Flag<unknown>>(FLAGS).map(
    ([name, { fallback, help }]) => `  --${name} '${fallback}'\n    ${help}\n`,
  );
  return `Usage: muster-gateway [flags]

Serves Muster's REST, WebSocket and JSON interfaces before any etcd v3 cluster.
Every flag is also read from the environment, such as ${variableOf('listen-urls')}.

${lines.join('')}  --help, --version
`;
}
