import { type Command, type Group, verb } from '../line/command.ts';
import { bool, int, string, strings } from '../line/flag.ts';

const WITH_TABLE = ['simple', 'fields', 'json', 'protobuf', 'table'] as const;
const LISTS = ['simple', 'fields', 'json', 'table'] as const;

export const MEMBER_ADD_FLAGS = {
  learner: bool('indicates if the new member is raft learner'),
  'peer-urls': strings('comma separated peer URLs for the new member'),
};
export const MEMBER_LIST_FLAGS = {
  // As etcdctl 3.4: also answered while an added member that has not started yet costs the cluster its quorum.
  consistency: string('Linearizable(l) or Serializable(s)', 's', { choices: ['l', 's'] }),
};
export const MEMBER_UPDATE_FLAGS = {
  'peer-urls': strings('comma separated peer URLs for the updated member'),
};

const MEMBER: Group = {
  name: 'member',
  summary: 'Membership related commands',
  children: [
    verb({
      name: 'add',
      summary: 'Adds a member into the cluster',
      usage: '<memberName> [options]',
      flags: MEMBER_ADD_FLAGS,
      load: async () => (await import('../commands/member.ts')).memberAdd,
    }),
    verb({
      name: 'list',
      summary: 'Lists all members in the cluster',
      usage: '',
      flags: MEMBER_LIST_FLAGS,
      formats: WITH_TABLE,
      load: async () => (await import('../commands/member.ts')).memberList,
    }),
    verb({
      name: 'promote',
      summary: 'Promotes a non-voting member in the cluster',
      usage: '<memberID>',
      flags: {},
      load: async () => (await import('../commands/member.ts')).memberPromote,
    }),
    verb({
      name: 'remove',
      summary: 'Removes a member from the cluster',
      usage: '<memberID>',
      flags: {},
      load: async () => (await import('../commands/member.ts')).memberRemove,
    }),
    verb({
      name: 'update',
      summary: 'Updates a member in the cluster',
      usage: '<memberID> [options]',
      flags: MEMBER_UPDATE_FLAGS,
      load: async () => (await import('../commands/member.ts')).memberUpdate,
    }),
  ],
};

export const CLUSTER_FLAGS = { cluster: bool('use all endpoints from the cluster member list') };
export const HASHKV_FLAGS = {
  ...CLUSTER_FLAGS,
  rev: int('maximum revision to hash (default: all revisions)'),
};

export const ENDPOINT: Group = {
  name: 'endpoint',
  summary: 'Endpoint related commands',
  children: [
    verb({
      name: 'hashkv',
      summary: 'Prints the KV history hash for each endpoint in --endpoints',
      usage: '',
      flags: HASHKV_FLAGS,
      formats: LISTS,
      load: async () => (await import('../commands/endpoint.ts')).endpointHashKv,
    }),
    verb({
      name: 'health',
      summary: 'Checks the healthiness of endpoints specified in `--endpoints` flag',
      usage: '',
      flags: CLUSTER_FLAGS,
      formats: LISTS,
      load: async () => (await import('../commands/endpoint.ts')).endpointHealth,
    }),
    verb({
      name: 'status',
      summary: 'Prints out the status of endpoints specified in `--endpoints` flag',
      usage: '',
      description:
        'The items in the simple lists are endpoint, ID, version, db size, is leader, is learner, raft term, raft ' +
        'index, raft applied index, errors.',
      flags: CLUSTER_FLAGS,
      formats: LISTS,
      load: async () => (await import('../commands/endpoint.ts')).endpointStatus,
    }),
  ],
};

const ALARM: Group = {
  name: 'alarm',
  summary: 'Alarm related commands',
  children: [
    verb({
      name: 'disarm',
      summary: 'Disarms all alarms',
      usage: '',
      flags: {},
      load: async () => (await import('../commands/upkeep.ts')).alarmDisarm,
    }),
    verb({
      name: 'list',
      summary: 'Lists all alarms',
      usage: '',
      flags: {},
      load: async () => (await import('../commands/upkeep.ts')).alarmList,
    }),
  ],
};

const DOWNGRADE: Group = {
  name: 'downgrade',
  summary: 'Downgrade related commands',
  children: (['validate', 'enable', 'cancel'] as const).map((action) =>
    verb({
      name: action,
      summary: {
        validate: 'Validate downgrade capability before starting downgrade',
        enable: 'Start a downgrade action to cluster',
        cancel: 'Cancel the ongoing downgrade action to cluster',
      }[action],
      usage: action === 'cancel' ? '' : '<TARGET_VERSION>',
      flags: {},
      load: async () => (await import('../commands/upkeep.ts')).downgradeTo(action),
    }),
  ),
};

export const CLUSTER_COMMANDS: readonly Command[] = [
  ALARM,
  verb({
    name: 'defrag',
    summary: 'Defragments the storage of the etcd members with given endpoints',
    usage: '',
    flags: CLUSTER_FLAGS,
    formats: ['simple', 'fields', 'json', 'protobuf', 'table'],
    load: async () => (await import('../commands/upkeep.ts')).defrag,
  }),
  DOWNGRADE,
  ENDPOINT,
  MEMBER,
  verb({
    name: 'move-leader',
    summary: 'Transfers leadership to another etcd cluster member.',
    usage: '<transferee-member-id>',
    flags: {},
    load: async () => (await import('../commands/upkeep.ts')).moveLeader,
  }),
];
