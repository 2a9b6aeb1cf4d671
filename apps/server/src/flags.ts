/** What flags there are besides those of the table, what their variables are called, and the help text. */
import { FLAG_GROUPS, FLAGS, type Flag, FORMER_NAMES } from './flag-table.ts';

/**
 * Flags of etcd that are taken in so that its command lines and files work, and change nothing here, with the reason;
 * those of `IDLE_BOOLEANS` may stand without a value.
 */
export const IDLE: Readonly<Record<string, string>> = {
  'initial-election-tick-advance': 'a member that starts waits as long as any other',
  'max-snapshots': 'as many snapshots are kept as are needed',
  'max-wals': 'as much of the log is kept as is needed',
  'backend-batch-interval': 'every turn of the loop is one write',
  'backend-batch-limit': 'every turn of the loop is one write',
  'backend-bbolt-freelist-type': 'the engine is not bbolt',
  'pre-vote': 'it is always on',
  'enable-v2': 'there is no v2 API',
  'experimental-enable-v2v3': 'there is no v2 API',
  'v2-deprecation': 'there is no v2 API',
  'proxy-failure-wait': 'there is no v2 proxy',
  'proxy-refresh-interval': 'there is no v2 proxy',
  'proxy-dial-timeout': 'there is no v2 proxy',
  'proxy-write-timeout': 'there is no v2 proxy',
  'proxy-read-timeout': 'there is no v2 proxy',
  'enable-pprof': 'this is no Go program; use the inspector of Node',
  logger: 'there is one kind of logger',
  'log-package-levels': 'there is one level for all',
  'enable-log-rotation': 'rotate the files of --log-outputs from outside (copytruncate)',
  'log-rotation-config-json': 'rotate the files of --log-outputs from outside (copytruncate)',
  debug: 'use --log-level=debug',
  'compaction-batch-limit': 'compaction takes as much at a time as does not disturb',
  'experimental-compaction-batch-limit': 'compaction takes as much at a time as does not disturb',
  'compaction-sleep-interval': 'compaction takes as much at a time as does not disturb',
  'experimental-compaction-sleep-interval': 'compaction takes as much at a time as does not disturb',
  'raft-read-timeout': 'silent peers are noticed by pings',
  'raft-write-timeout': 'silent peers are noticed by pings',
  'downgrade-check-time': 'there are no downgrades',
  'experimental-downgrade-check-time': 'there are no downgrades',
  'memory-mlock': 'memory is not locked',
  'experimental-memory-mlock': 'memory is not locked',
  'socket-reuse-address': 'it is always on',
  'unsafe-no-fsync': 'what is acknowledged is always on the disk',
  'experimental-enable-lease-checkpoint': 'leases are always checkpointed',
  'experimental-enable-lease-checkpoint-persist': 'leases are always checkpointed',
  'experimental-txn-mode-write-with-shared-buffer': 'there is one way to write',
  'experimental-stop-grpc-service-on-defrag': 'a defragmentation does not stop the service',
  'experimental-peer-skip-client-san-verification':
    'the addresses in certificates of peers that connect are not compared',
  'peer-skip-client-san-verification': 'the addresses in certificates of peers that connect are not compared',
  'set-member-localaddr': 'the system chooses the address that peers are dialled from',
  'experimental-set-member-localaddr': 'the system chooses the address that peers are dialled from',
  'enable-distributed-tracing': 'there is no tracing',
  'distributed-tracing-address': 'there is no tracing',
  'distributed-tracing-service-name': 'there is no tracing',
  'distributed-tracing-instance-id': 'there is no tracing',
  'distributed-tracing-sampling-rate': 'there is no tracing',
  'experimental-enable-distributed-tracing': 'there is no tracing',
  'experimental-distributed-tracing-address': 'there is no tracing',
  'experimental-distributed-tracing-service-name': 'there is no tracing',
  'experimental-distributed-tracing-instance-id': 'there is no tracing',
  'experimental-distributed-tracing-sampling-rate': 'there is no tracing',
  'experimental-backend-bbolt-freelist-type': 'the engine is not bbolt',
  'discovery-fallback': 'there is no discovery service',
  'discovery-proxy': 'there is no discovery service',
};

export const IDLE_BOOLEANS: ReadonlySet<string> = new Set([
  'initial-election-tick-advance',
  'pre-vote',
  'enable-v2',
  'enable-pprof',
  'enable-log-rotation',
  'debug',
  'memory-mlock',
  'experimental-memory-mlock',
  'socket-reuse-address',
  'unsafe-no-fsync',
  'experimental-enable-lease-checkpoint',
  'experimental-enable-lease-checkpoint-persist',
  'experimental-txn-mode-write-with-shared-buffer',
  'experimental-stop-grpc-service-on-defrag',
  'experimental-peer-skip-client-san-verification',
  'peer-skip-client-san-verification',
  'set-member-localaddr',
  'experimental-set-member-localaddr',
  'enable-distributed-tracing',
  'experimental-enable-distributed-tracing',
]);

const NO_DISCOVERY =
  'there is no discovery service; name the members in --initial-cluster, or use --discovery-srv';

/** Flags of etcd whose meaning would be missed: refused with what to do instead. */
export const REFUSED: Readonly<Record<string, string>> = {
  discovery: NO_DISCOVERY,
  'discovery-token': NO_DISCOVERY,
  'discovery-endpoints': NO_DISCOVERY,
  'discovery-dial-timeout': NO_DISCOVERY,
  'discovery-request-timeout': NO_DISCOVERY,
  'discovery-keepalive-time': NO_DISCOVERY,
  'discovery-keepalive-timeout': NO_DISCOVERY,
  'discovery-insecure-transport': NO_DISCOVERY,
  'discovery-insecure-skip-tls-verify': NO_DISCOVERY,
  'discovery-cert': NO_DISCOVERY,
  'discovery-key': NO_DISCOVERY,
  'discovery-cacert': NO_DISCOVERY,
  'discovery-user': NO_DISCOVERY,
  'discovery-password': NO_DISCOVERY,
};

/** Every name that means something. */
export function knownNames(): readonly string[] {
  return [FLAGS, FORMER_NAMES, IDLE, REFUSED].flatMap((table) => Object.keys(table));
}

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
    '  muster-server --config-file FILE',
    '    Start one that is described by a YAML file.',
    '',
    '  muster-server --version',
    '    Show the version.',
    '',
    'Every flag is also read from the environment, in upper case with underscores, after ETCD_ or, where noted,',
    'MUSTER_. A flag wins over the environment.',
  ];
  for (const group of FLAG_GROUPS) {
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
