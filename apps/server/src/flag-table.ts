/** THE table of flags: parsing, environment, `--help` and the documentation are all made from it. */
import {
  type Parser,
  parseBoolean,
  parseChoice,
  parseDuration,
  parseFeatureGates,
  parseHosts,
  parseInteger,
  parseNames,
  parseOneOf,
  parseOrigins,
  parseOriginsOrNone,
  parsePositive,
  parsePositiveDuration,
  parseText,
  parseTlsVersion,
  parseUnsigned,
  parseUrls,
  parseUrlsOrNone,
} from './flag-values.ts';

export const FLAG_GROUPS = [
  'Member',
  'Clustering',
  'Security',
  'Auth',
  'Checks',
  'Metrics',
  'Gateway',
  'Logging',
  'Other',
] as const;
type FlagGroup = (typeof FLAG_GROUPS)[number];

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
  'wal-dir': flag(
    'Member',
    parseText,
    '',
    'Directory of the log, when it is to lie on another disk. Empty: in the data directory.',
  ),
  'listen-peer-urls': flag(
    'Member',
    parseUrls,
    'http://localhost:2380',
    'URLs to listen on for other members.',
  ),
  'listen-client-urls': flag('Member', parseUrls, 'http://localhost:2379', 'URLs to listen on for clients.'),
  'listen-client-http-urls': flag(
    'Member',
    parseUrlsOrNone,
    '',
    'URLs to listen on for HTTP alone; --listen-client-urls then serves gRPC alone.',
  ),
  'socket-reuse-port': flag(
    'Member',
    parseBoolean,
    'false',
    'Let several processes listen on the same client addresses.',
  ),
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
  'bootstrap-defrag-threshold-megabytes': flag(
    'Member',
    parseUnsigned,
    '0',
    'Defragment before serving when at least this much of the file, in megabytes, is free; 0 is never.',
  ),
  'max-txn-ops': flag('Member', parseUnsigned, '128', 'Operations allowed in one transaction.'),
  'max-request-bytes': flag('Member', parseUnsigned, '1572864', 'Largest request, in bytes.'),
  'max-concurrent-streams': flag(
    'Member',
    parseUnsigned,
    '4294967295',
    'Concurrent streams that each gRPC client may open.',
  ),
  'grpc-keepalive-min-time': flag(
    'Member',
    parseDuration,
    '5s',
    'Clients that ping more often than this are sent away.',
  ),
  'grpc-keepalive-interval': flag(
    'Member',
    parseDuration,
    '2h',
    'Silence after which a gRPC client is pinged. 0 never pings.',
  ),
  'grpc-keepalive-timeout': flag(
    'Member',
    parseDuration,
    '20s',
    'Time for the answer to such a ping before the connection is closed. 0 never closes it.',
  ),
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
  'strict-reconfig-check': flag(
    'Clustering',
    parseBoolean,
    'true',
    'Refuse changes of the membership that would cost the quorum.',
  ),
  'max-learners': flag('Clustering', parsePositive, '1', 'Learners that a cluster may have at a time.'),
  'force-new-cluster': flag(
    'Clustering',
    parseBoolean,
    'false',
    'Make a cluster of this member alone out of its data: for disasters only.',
  ),
  'discovery-srv': flag(
    'Clustering',
    parseText,
    '',
    'Domain whose SRV records name the members of a new cluster.',
  ),
  'discovery-srv-name': flag('Clustering', parseText, '', 'Suffix of the SRV records that are asked for.'),
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
  'host-whitelist': flag(
    'Gateway',
    parseHosts,
    '*',
    'Host names that requests without TLS may come under; * is any.',
  ),
  'enable-grpc-gateway': flag('Gateway', parseBoolean, 'true', "Serve etcd's JSON below /v3."),
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

  'cert-file': flag('Security', parseText, '', 'Certificate of the client port (PEM).'),
  'key-file': flag('Security', parseText, '', 'Its key.'),
  'client-cert-file': flag('Security', parseText, '', 'Certificate for calls to itself; not needed here.'),
  'client-key-file': flag('Security', parseText, '', 'Its key.'),
  'client-cert-auth': flag(
    'Security',
    parseBoolean,
    'false',
    'Refuse clients without a certificate; its common name is the user of gRPC calls.',
  ),
  'trusted-ca-file': flag('Security', parseText, '', 'Authorities whose client certificates are taken.'),
  'client-crl-file': flag('Security', parseText, '', 'Client certificates that are revoked.'),
  'client-cert-allowed-hostname': flag(
    'Security',
    parseNames,
    '',
    'Host names of which a client certificate must be valid for one.',
  ),
  'auto-tls': flag('Security', parseBoolean, 'false', 'Make a certificate for the client port.'),
  'peer-cert-file': flag('Security', parseText, '', 'Certificate of the peer port, shown to peers too.'),
  'peer-key-file': flag('Security', parseText, '', 'Its key.'),
  'peer-client-cert-file': flag('Security', parseText, '', 'What is shown to peers instead.'),
  'peer-client-key-file': flag('Security', parseText, '', 'Its key.'),
  'peer-client-cert-auth': flag('Security', parseBoolean, 'false', 'Refuse peers without a certificate.'),
  'peer-trusted-ca-file': flag('Security', parseText, '', 'Authorities whose peer certificates are taken.'),
  'peer-crl-file': flag('Security', parseText, '', 'Peer certificates that are revoked.'),
  'peer-cert-allowed-cn': flag(
    'Security',
    parseNames,
    '',
    'Common names of which the certificate of a peer that connects must have one.',
  ),
  'peer-cert-allowed-hostname': flag(
    'Security',
    parseNames,
    '',
    'Host names of which the certificate of a peer that connects must be valid for one.',
  ),
  'peer-auto-tls': flag('Security', parseBoolean, 'false', 'Make a certificate for the peer port.'),
  'self-signed-cert-validity': flag(
    'Security',
    parsePositive,
    '1',
    'Years for which certificates of --auto-tls and --peer-auto-tls are valid.',
  ),
  'cipher-suites': flag(
    'Security',
    parseNames,
    '',
    'Cipher suites of TLS 1.2 that are offered, by their IANA names. Empty: the usual ones.',
  ),
  'tls-min-version': flag('Security', parseTlsVersion, 'TLS1.2', 'Oldest TLS: TLS1.2 or TLS1.3.'),
  'tls-max-version': flag('Security', parseTlsVersion, '', 'Newest TLS. Empty: the newest there is.'),

  'auth-token': flag(
    'Auth',
    parseText,
    'simple',
    'How credentials are kept between requests: simple, or jwt with its options (jwt,pub-key=...,priv-key=...,' +
      'sign-method=RS256,ttl=10m).',
  ),
  'auth-token-ttl': flag(
    'Auth',
    parsePositive,
    '300',
    'Seconds that a simple token lives after its last use.',
  ),
  'bcrypt-cost': flag('Auth', parseUnsigned, '10', "Cost of a password's bcrypt hash: 4 to 31."),

  'corrupt-check-time': flag(
    'Checks',
    parseDuration,
    '0s',
    'Time between checks that the members have the same data. 0 is never.',
  ),
  'compact-hash-check-time': flag(
    'Checks',
    parsePositiveDuration,
    '1m',
    'Time between checks of the hashes at compactions, where CompactHashCheck is on.',
  ),
  'experimental-initial-corrupt-check': flag(
    'Checks',
    parseBoolean,
    'false',
    'Compare the data with the other members before serving. The same as the feature InitialCorruptCheck.',
  ),
  'experimental-compact-hash-check-enabled': flag(
    'Checks',
    parseBoolean,
    'false',
    'The same as the feature CompactHashCheck.',
  ),
  'feature-gates': flag(
    'Checks',
    parseFeatureGates,
    '',
    'Features to turn on or off: InitialCorruptCheck=true,CompactHashCheck=true.',
  ),

  'listen-metrics-urls': flag(
    'Metrics',
    parseUrlsOrNone,
    '',
    'More URLs to listen on, for /metrics, /health, /livez and /readyz alone.',
  ),
  metrics: flag(
    'Metrics',
    parseChoice(['basic', 'extensive']),
    'basic',
    'extensive adds histograms of the times of gRPC calls.',
  ),

  'log-level': flag('Logging', parseOneOf(LEVELS), 'info', `One of ${LEVELS.join(', ')}.`),
  'log-outputs': flag(
    'Logging',
    parseNames,
    'default',
    'Where the log goes: stderr (the default), stdout, or files.',
  ),
  'log-format': flag('Logging', parseChoice(['json', 'console']), 'json', 'json or console.'),
  'warning-apply-duration': flag(
    'Logging',
    parseDuration,
    '100ms',
    'Applying a batch of entries for longer than this is logged.',
  ),
  'warning-unary-request-duration': flag(
    'Logging',
    parseDuration,
    '300ms',
    'A request that takes longer than this is logged; at most one a second.',
  ),
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
  'config-file': flag(
    'Other',
    parseText,
    '',
    'A YAML file with the names of flags as keys. All other flags and variables are ignored then.',
  ),
  proxy: flag('Other', parseChoice(['off', 'readonly', 'on']), 'off', 'Only off: there is no v2 proxy.'),
  version: flag('Other', parseBoolean, 'false', 'Print the version and exit.'),
  help: flag('Other', parseBoolean, 'false', 'Print this help and exit.'),
} as const satisfies Readonly<Record<string, Flag<unknown>>>;

export type FlagName = keyof typeof FLAGS;
export type FlagValues = {
  readonly [K in FlagName]: (typeof FLAGS)[K] extends Flag<infer T> ? T : never;
};

/** Former names of flags, most of them from when they were experimental. */
export const FORMER_NAMES: Readonly<Record<string, FlagName>> = {
  'experimental-corrupt-check-time': 'corrupt-check-time',
  'experimental-compact-hash-check-time': 'compact-hash-check-time',
  'experimental-watch-progress-notify-interval': 'watch-progress-notify-interval',
  'experimental-max-learners': 'max-learners',
  'experimental-snapshot-catchup-entries': 'snapshot-catchup-entries',
  'experimental-bootstrap-defrag-threshold-megabytes': 'bootstrap-defrag-threshold-megabytes',
  'experimental-warning-apply-duration': 'warning-apply-duration',
  'experimental-warning-unary-request-duration': 'warning-unary-request-duration',
};
