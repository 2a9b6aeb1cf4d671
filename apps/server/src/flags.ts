/** THE table of flags: parsing, environment, `--help` and the documentation are all made from it. */
import {
  type Parser,
  parseBoolean,
  parseChoice,
  parseHosts,
  parseInteger,
  parseOneOf,
  parseOrigins,
  parseOriginsOrNone,
  parsePositive,
  parsePositiveDuration,
  parseText,
  parseUnsigned,
  parseUrls,
  parseUrlsOrNone,
} from './flag-values.ts';

type FlagGroup = 'Member' | 'Clustering' | 'Gateway' | 'Logging' | 'Other';

/**
 * One flag. `own` ones are Muster's: their variable begins with `MUSTER_`, etcd's with `ETCD_`. `fallback` is the
 * default as it would be typed.
 */
export type Flag<T> = {
  readonly group: FlagGroup;
  readonly fallback: string;
  readonly parse: Parser<T>;
  readonly help: string;
  readonly own: boolean;
  /** May stand without a value. */
  readonly boolean: boolean;
};

function flag<T>(group: FlagGroup, parse: Parser<T>, fallback: string, help: string): Flag<T> {
  return { group, fallback, parse, help, own: false, boolean: (parse as unknown) === parseBoolean };
}

function own<T>(group: FlagGroup, parse: Parser<T>, fallback: string, help: string): Flag<T> {
  return { ...flag(group, parse, fallback, help), own: true };
}

const LEVELS = ['debug', 'info', 'warn', 'error', 'panic', 'fatal'] as const;

export const FLAGS = {
  name: flag('Member', parseText, 'default', 'Human-readable name of this member.'),
  'data-dir': flag('Member', parseText, '', "Directory of this member's data. Empty: <name>.muster."),
  'listen-peer-urls': flag(
    'Member',
    parseUrls,
    'http://localhost:2380',
    'URLs to listen on for other members.',
  ),
  'listen-client-urls': flag('Member', parseUrls, 'http://localhost:2379', 'URLs to listen on for clients.'),
  'heartbeat-interval': flag('Member', parseUnsigned, '100', "Milliseconds between a leader's heartbeats."),
  'election-timeout': flag(
    'Member',
    parseUnsigned,
    '1000',
    'Milliseconds without a leader after which a member campaigns.',
  ),
  'snapshot-count': flag('Member', parseUnsigned, '10000', 'Applied entries between compactions of the log.'),
  'snapshot-catchup-entries': flag(
    'Member',
    parseUnsigned,
    '5000',
    'Entries kept in the log for slow followers after a compaction.',
  ),
  'quota-backend-bytes': flag(
    'Member',
    parseInteger,
    '0',
    'Bytes of storage at which writes stop with an alarm. 0 is 2 GiB, negative is no quota.',
  ),
  'max-txn-ops': flag('Member', parseUnsigned, '128', 'Operations allowed in one transaction.'),
  'max-request-bytes': flag('Member', parseUnsigned, '1572864', 'Largest request, in bytes.'),
  'max-concurrent-streams': flag(
    'Member',
    parseUnsigned,
    '4294967295',
    'Concurrent streams that each gRPC client may open.',
  ),
  'auth-token': flag(
    'Member',
    parseText,
    'simple',
    'How credentials are kept between requests: simple, or jwt with its options (jwt,pub-key=...,priv-key=...,' +
      'sign-method=RS256,ttl=10m).',
  ),
  'auth-token-ttl': flag(
    'Member',
    parsePositive,
    '300',
    'Seconds that a simple token lives after its last use.',
  ),
  'bcrypt-cost': flag('Member', parseUnsigned, '10', "Cost of a password's bcrypt hash: 4 to 31."),
  'watch-progress-notify-interval': flag(
    'Member',
    parsePositiveDuration,
    '10m',
    'Time between progress messages to idle watches that asked for them.',
  ),

  'initial-advertise-peer-urls': flag(
    'Clustering',
    parseUrls,
    'http://localhost:2380',
    'URLs at which the other members reach this one.',
  ),
  'initial-cluster': flag(
    'Clustering',
    parseText,
    'default=http://localhost:2380',
    'Members of a new cluster as name=url pairs; a member with several URLs is named several times.',
  ),
  'initial-cluster-state': flag(
    'Clustering',
    parseChoice(['new', 'existing']),
    'new',
    'Whether the first start founds a cluster (new) or joins one (existing).',
  ),
  'initial-cluster-token': flag(
    'Clustering',
    parseText,
    'etcd-cluster',
    'Sets clusters apart: part of the member and cluster ids of a new cluster.',
  ),
  'advertise-client-urls': flag(
    'Clustering',
    parseUrlsOrNone,
    'http://localhost:2379',
    'URLs at which clients reach this member.',
  ),
  'auto-compaction-mode': flag(
    'Clustering',
    parseText,
    'periodic',
    'Meaning of the retention: periodic (a time) or revision (a number of revisions).',
  ),
  'auto-compaction-retention': flag(
    'Clustering',
    parseText,
    '0',
    'History to keep when compacting by itself: a duration such as 5m (a bare number is hours), or a number of ' +
      'revisions. 0 never compacts.',
  ),

  cors: flag('Gateway', parseOrigins, '*', 'Origins that browsers may call from; * is any.'),
  'host-whitelist': flag('Gateway', parseHosts, '*', 'Host names that requests may come under; * is any.'),
  'allowed-origins': own(
    'Gateway',
    parseOriginsOrNone,
    '',
    'Origins besides the pages of this server that may use /v1 from a browser and open WebSockets; * is any.',
  ),
  'max-connections': own('Gateway', parsePositive, '20000', 'Open TCP connections of clients.'),
  'max-sockets': own('Gateway', parsePositive, '10000', 'Open WebSockets.'),
  'max-streams': own('Gateway', parsePositive, '10000', 'Open event streams and held long polls, together.'),
  'max-subscriptions': own('Gateway', parsePositive, '256', 'Subscriptions on one WebSocket.'),
  'max-frame-bytes': own('Gateway', parsePositive, '65536', 'One WebSocket frame from a client, in bytes.'),
  'max-body-bytes': own('Gateway', parsePositive, '3145728', 'One request body, in bytes.'),
  'max-header-bytes': own('Gateway', parsePositive, '16384', 'Request line and headers together, in bytes.'),
  'max-buffered-bytes': own(
    'Gateway',
    parsePositive,
    '1048576',
    'Bytes that may wait for one slow client before reading for it stops.',
  ),
  'headers-timeout': own('Gateway', parsePositiveDuration, '10s', "Time for a request's headers to arrive."),
  'body-timeout': own('Gateway', parsePositiveDuration, '60s', 'Time for a whole request to arrive.'),
  'socket-heartbeat-interval': own(
    'Gateway',
    parsePositiveDuration,
    '15s',
    'Time between heartbeats on WebSockets and event streams.',
  ),
  'dashboard-dir': own(
    'Gateway',
    parseText,
    '',
    'Directory of the built dashboard. Empty: the one of this installation.',
  ),

  'log-level': flag('Logging', parseOneOf(LEVELS), 'info', `One of ${LEVELS.join(', ')}.`),
  'stall-warning': own(
    'Logging',
    parsePositiveDuration,
    '250ms',
    'A pause of the event loop of at least this long is logged.',
  ),
  'shutdown-timeout': own(
    'Other',
    parsePositiveDuration,
    '10s',
    'Time to finish running requests when stopping.',
  ),
  version: flag('Other', parseBoolean, 'false', 'Print the version and exit.'),
  help: flag('Other', parseBoolean, 'false', 'Print this help and exit.'),
} as const satisfies Readonly<Record<string, Flag<unknown>>>;

export type FlagName = keyof typeof FLAGS;
export type FlagValues = {
  readonly [K in FlagName]: (typeof FLAGS)[K] extends Flag<infer T> ? T : never;
};

/**
 * Flags of etcd that are taken in so that its command lines work, and change nothing here: the thing they tune does
 * not exist, or is always on.
 */
export const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  'initial-election-tick-advance',
  'max-snapshots',
  'max-wals',
  'backend-batch-interval',
  'backend-batch-limit',
  'backend-bbolt-freelist-type',
  'grpc-keepalive-min-time',
  'grpc-keepalive-interval',
  'grpc-keepalive-timeout',
  'strict-reconfig-check',
  'pre-vote',
  'enable-v2',
  'enable-grpc-gateway',
  'metrics',
  'enable-pprof',
  'logger',
  'log-outputs',
  'log-format',
  'log-package-levels',
  'debug',
  'v2-deprecation',
  'warning-apply-duration',
  'warning-unary-request-duration',
  'compaction-batch-limit',
  'compaction-sleep-interval',
  'raft-read-timeout',
  'raft-write-timeout',
]);

/** Those of them that may stand without a value. */
export const WITHOUT_EFFECT_BOOLEAN: ReadonlySet<string> = new Set([
  'initial-election-tick-advance',
  'strict-reconfig-check',
  'pre-vote',
  'enable-v2',
  'enable-grpc-gateway',
  'enable-pprof',
  'debug',
]);

/** Flags of etcd whose meaning would be missed: refused, where leaving them out silently would be unsafe. */
export const NOT_YET: ReadonlySet<string> = new Set([
  'config-file',
  'wal-dir',
  'cert-file',
  'key-file',
  'client-cert-auth',
  'client-cert-file',
  'client-key-file',
  'client-crl-file',
  'client-cert-allowed-hostname',
  'trusted-ca-file',
  'auto-tls',
  'peer-cert-file',
  'peer-key-file',
  'peer-client-cert-auth',
  'peer-client-cert-file',
  'peer-client-key-file',
  'peer-trusted-ca-file',
  'peer-auto-tls',
  'peer-crl-file',
  'peer-cert-allowed-cn',
  'peer-cert-allowed-hostname',
  'self-signed-cert-validity',
  'cipher-suites',
  'tls-min-version',
  'tls-max-version',
  'discovery',
  'discovery-srv',
  'discovery-srv-name',
  'discovery-token',
  'discovery-endpoints',
  'listen-metrics-urls',
  'listen-client-http-urls',
  'force-new-cluster',
  'unsafe-no-fsync',
  'feature-gates',
  'max-learners',
  'corrupt-check-time',
]);

/** The environment variable of a flag. */
export function envOf(name: string, isOwn: boolean): string {
  return `${isOwn ? 'MUSTER' : 'ETCD'}_${name.toUpperCase().replaceAll('-', '_')}`;
}

/** The help text, without the name of the program. */
export function helpText(): string {
  const lines = [
    'Usage:',
    '',
    '  muster-server [flags]',
    '    Start a Muster member.',
    '',
    '  muster-server --version',
    '    Show the version.',
    '',
    'Every flag is also read from the environment, in upper case with underscores, after ETCD_ or, where noted,',
    'MUSTER_. A flag wins over the environment.',
  ];
  for (const group of ['Member', 'Clustering', 'Gateway', 'Logging', 'Other'] as const) {
    lines.push('', `${group}:`);
    for (const [name, one] of Object.entries<Flag<unknown>>(FLAGS)) {
      if (one.group !== group) continue;
      lines.push(
        `  --${name} '${one.fallback}'${one.own ? `  (${envOf(name, true)})` : ''}`,
        `    ${one.help}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}
