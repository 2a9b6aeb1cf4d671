import { type Command, type Group, verb } from '../line/command.ts';
import { bool, int, string } from '../line/flag.ts';

const ALL = ['simple', 'fields', 'json', 'protobuf', 'table'] as const;

export const RESTORE_FLAGS = {
  'bump-revision': int('How much to increase the latest revision after restore'),
  'data-dir': string('Path to the output data directory', '', { file: true }),
  'initial-advertise-peer-urls': string(
    "List of this member's peer URLs to advertise to the rest of the cluster",
    'http://localhost:2380',
  ),
  'initial-cluster': string(
    'Initial cluster configuration for restore bootstrap',
    'default=http://localhost:2380',
  ),
  'initial-cluster-token': string(
    'Initial cluster token for the etcd cluster during restore bootstrap',
    'etcd-cluster',
  ),
  'mark-compacted': bool('Mark the latest revision after restore as the point of scheduled compaction'),
  name: string('Human-readable name for this member', 'default'),
  'skip-hash-check': bool('Ignore snapshot integrity hash value (required if copied from data directory)'),
  'wal-dir': string('accepted when it lies in the data directory: Muster keeps its log there', '', {
    file: true,
  }),
};

const SNAPSHOT: Group = {
  name: 'snapshot',
  summary: 'Manages etcd node snapshots',
  children: [
    verb({
      name: 'restore',
      summary: "Restores a member snapshot to a data directory of Muster's",
      usage: '<filename> [options]',
      flags: RESTORE_FLAGS,
      formats: ALL,
      load: async () => (await import('../commands/snapshot.ts')).snapshotRestore,
    }),
    verb({
      name: 'save',
      summary: 'Stores a member backend snapshot to a given file',
      usage: '<filename>',
      flags: {},
      formats: ALL,
      load: async () => (await import('../commands/snapshot.ts')).snapshotSave,
    }),
    verb({
      name: 'status',
      summary: 'Gets backend snapshot status of a given file',
      usage: '<filename>',
      description: 'The items in the simple list are hash, revision, total keys, total size.',
      flags: {},
      formats: ['simple', 'fields', 'json', 'table'],
      load: async () => (await import('../commands/snapshot.ts')).snapshotStatusOf,
    }),
  ],
};

export const LOCK_FLAGS = { ttl: int('timeout for session', 10) };
export const ELECT_FLAGS = { listen: bool('observation mode', false, { short: 'l' }) };

const LOADS = ['s', 'm', 'l', 'xl'] as const;
const CHECK_FLAGS = {
  'auto-compact': bool('Compact storage with last revision after test is finished'),
  'auto-defrag': bool('Defragment storage after test is finished'),
  load: string('The workload: s(small), m(medium), l(large), xl(xLarge)', 's', { choices: LOADS }),
};
export const PERF_FLAGS = {
  ...CHECK_FLAGS,
  prefix: string("The prefix for writing the performance check's keys", '/etcdctl-check-perf/'),
};
export const DATASCALE_FLAGS = {
  ...CHECK_FLAGS,
  prefix: string("The prefix for writing the datascale check's keys", '/etcdctl-check-datascale/'),
};

const CHECK: Group = {
  name: 'check',
  summary: 'commands for checking properties of the etcd cluster',
  children: [
    verb({
      name: 'datascale',
      summary: 'Check the memory usage of holding data for different workloads on a given server endpoint.',
      usage: '[options]',
      flags: DATASCALE_FLAGS,
      formats: ALL,
      load: async () => (await import('../commands/check-datascale.ts')).checkDatascale,
    }),
    verb({
      name: 'perf',
      summary: 'Check the performance of the etcd cluster',
      usage: '[options]',
      flags: PERF_FLAGS,
      formats: ALL,
      load: async () => (await import('../commands/check-perf.ts')).checkPerf,
    }),
  ],
};

const DESTINATION_FLAGS = {
  'dest-cacert': string('Verify certificates of TLS enabled secure servers using this CA bundle', '', {
    file: true,
  }),
  'dest-cert': string(
    'Identify secure client using this TLS certificate file for the destination cluster',
    '',
    {
      file: true,
    },
  ),
  'dest-insecure-transport': bool('Disable transport security for client connections', true),
  'dest-key': string('Identify secure client using this TLS key file', '', { file: true }),
  'dest-password': string('Destination password for authentication'),
  'dest-user': string('Destination username[:password] for authentication'),
};

export const MIRROR_FLAGS = {
  ...DESTINATION_FLAGS,
  'dest-prefix': string(
    'destination prefix to mirror a prefix to a different prefix in the destination cluster',
  ),
  'max-txn-ops': int('Maximum number of operations permitted in a transaction during syncing updates', 128),
  'no-dest-prefix': bool('mirror key-values to the root of the destination cluster'),
  prefix: string('Key-value prefix to mirror'),
  rev: int('Specify the kv revision to start to mirror'),
};

export const IMPORT_FLAGS = {
  ...DESTINATION_FLAGS,
  auth: bool('copy roles too, and users, with random passwords: no call tells theirs'),
  follow: bool('go on with what changes in the source until stopped', true),
  marker: string(
    'key at the destination that says how far the import is (default /muster/import/<cluster id>)',
  ),
  'max-txn-ops': int('Maximum number of operations in one transaction at the destination', 128),
  prefix: string('Only keys with this prefix'),
};

export const COMPLETION_FLAGS = { 'no-descriptions': bool('disable completion descriptions') };

const COMPLETION: Group = {
  name: 'completion',
  summary: 'Generate the autocompletion script for the specified shell',
  children: (['bash', 'fish', 'zsh'] as const).map((shell) =>
    verb({
      name: shell,
      summary: `Generate the autocompletion script for ${shell}`,
      usage: '',
      flags: COMPLETION_FLAGS,
      formats: ALL,
      load: async () => (await import('../commands/completion.ts')).completionFor(shell),
    }),
  ),
};

export const OTHER_COMMANDS: readonly Command[] = [
  CHECK,
  COMPLETION,
  verb({
    name: 'elect',
    summary: 'Observes and participates in leader election',
    usage: '<election-name> [proposal]',
    flags: ELECT_FLAGS,
    load: async () => (await import('../commands/elect.ts')).elect,
  }),
  verb({
    name: 'import',
    summary: 'Copies a live etcd cluster into another one, then follows it',
    usage: '[options] <destination>',
    description:
      'From the cluster of --endpoints to <destination>. Keys keep their order of changes and their leases. What the ' +
      'source still has of its history is replayed; what was compacted away is copied as it stands. Run again, ' +
      'an interrupted import goes on where it was.',
    flags: IMPORT_FLAGS,
    formats: ALL,
    load: async () => (await import('../commands/import.ts')).importCluster,
  }),
  verb({
    name: 'lock',
    summary: 'Acquires a named lock',
    usage: '<lockname> [exec-command arg1 arg2 ...]',
    flags: LOCK_FLAGS,
    load: async () => (await import('../commands/lock.ts')).lock,
  }),
  verb({
    name: 'make-mirror',
    summary: 'Makes a mirror at the destination etcd cluster',
    usage: '[options] <destination>',
    flags: MIRROR_FLAGS,
    formats: ALL,
    load: async () => (await import('../commands/mirror.ts')).makeMirror,
  }),
  SNAPSHOT,
  verb({
    name: 'version',
    summary: 'Prints the version of musterctl',
    usage: '',
    flags: {},
    formats: ALL,
    load: async () => (await import('../commands/version.ts')).version,
  }),
];
