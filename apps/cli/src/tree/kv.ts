import { verb } from '../line/command.ts';
import { bool, int, string } from '../line/flag.ts';

export const PUT_FLAGS = {
  'ignore-lease': bool('updates the key using its current lease'),
  'ignore-value': bool('updates the key using its current value'),
  lease: string('lease ID (in hexadecimal) to attach to the key', '0'),
  'prev-kv': bool('return the previous key-value pair before modification'),
};

export const GET_FLAGS = {
  consistency: string('Linearizable(l) or Serializable(s)', 'l', { choices: ['l', 's'] }),
  'count-only': bool('Get only the count'),
  'from-key': bool('Get keys that are greater than or equal to the given key using byte compare'),
  'keys-only': bool('Get only the keys'),
  limit: int('Maximum number of results'),
  'max-create-rev': int('Maximum create revision'),
  'max-mod-rev': int('Maximum modification revision'),
  'min-create-rev': int('Minimum create revision'),
  'min-mod-rev': int('Minimum modification revision'),
  order: string('Order of results; ASCEND or DESCEND (ASCEND by default)', '', {
    choices: ['ASCEND', 'DESCEND'],
  }),
  prefix: bool('Get keys with matching prefix'),
  'print-value-only': bool('Only write values when using the "simple" output format'),
  rev: int('Specify the kv revision'),
  'sort-by': string('Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION', '', {
    choices: ['CREATE', 'KEY', 'MODIFY', 'VALUE', 'VERSION'],
  }),
};

export const DEL_FLAGS = {
  'from-key': bool('delete keys that are greater than or equal to the given key using byte compare'),
  prefix: bool('delete keys with matching prefix'),
  'prev-kv': bool('return deleted key-value pairs'),
  range: bool('delete range of keys; what two arguments mean without it, too'),
};

export const TXN_FLAGS = {
  interactive: bool('Input transaction in interactive mode', false, { short: 'i' }),
};

export const WATCH_FLAGS = {
  interactive: bool('Interactive mode', false, { short: 'i' }),
  prefix: bool('Watch on a prefix if prefix is set'),
  'prev-kv': bool('get the previous key-value pair before the event happens'),
  'progress-notify': bool('get periodic watch progress notification from server'),
  rev: int('Revision to start watching'),
};

export const COMPACTION_FLAGS = {
  physical: bool("'true' to wait for compaction to physically remove all old revisions"),
};

export const KV_COMMANDS = [
  verb({
    name: 'put',
    summary: 'Puts the given key into the store',
    usage: '[options] <key> <value> (<value> can also be given from stdin)',
    description:
      "A value that begins with '-' goes behind '--': put <key> -- <value>. Without a value, and without " +
      '--ignore-value, it is read from standard input.',
    flags: PUT_FLAGS,
    load: async () => (await import('../commands/kv.ts')).put,
  }),
  verb({
    name: 'get',
    summary: 'Gets the key or a range of keys',
    usage: '[options] <key> [range_end]',
    flags: GET_FLAGS,
    load: async () => (await import('../commands/kv.ts')).get,
  }),
  verb({
    name: 'del',
    summary: 'Removes the specified key or range of keys [key, range_end)',
    usage: '[options] <key> [range_end]',
    flags: DEL_FLAGS,
    load: async () => (await import('../commands/kv.ts')).del,
  }),
  verb({
    name: 'txn',
    summary: 'Txn processes all the requests in one transaction',
    usage: '[options]',
    description:
      'Reads three paragraphs, each ended by an empty line: comparisons such as mod("key") > "0", the requests for ' +
      'when all of them hold, the requests for when not. Comparisons are of value, version, create, mod or lease ' +
      'with =, !=, < or >; requests are put, get and del with their flags.',
    flags: TXN_FLAGS,
    load: async () => (await import('../commands/txn.ts')).txn,
  }),
  verb({
    name: 'watch',
    summary: 'Watches events stream on keys or prefixes',
    usage: '[options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]',
    description:
      'The command runs once per event, with ETCD_WATCH_REVISION, ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and ' +
      'ETCD_WATCH_VALUE in its environment. In interactive mode lines such as "watch [options] key" and "progress" ' +
      'are read from standard input.',
    flags: WATCH_FLAGS,
    load: async () => (await import('../commands/watch.ts')).watch,
  }),
  verb({
    name: 'compaction',
    summary: 'Compacts the event history in etcd',
    usage: '[options] <revision>',
    flags: COMPACTION_FLAGS,
    formats: ['simple', 'fields', 'json', 'protobuf', 'table'],
    load: async () => (await import('../commands/kv.ts')).compaction,
  }),
];
