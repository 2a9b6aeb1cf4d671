import type { Prng } from '@muster/base';
import {
  DEFAULT_MAX_APPEND_BYTES,
  DEFAULT_MAX_COMMITTED_BYTES_PER_READY,
  DEFAULT_MAX_INFLIGHT_BYTES,
  DEFAULT_MAX_INFLIGHT_MESSAGES,
  DEFAULT_MAX_PENDING_READS,
  DEFAULT_MAX_UNCOMMITTED_BYTES,
} from './limits.ts';
import type { LogReader } from './log-reader.ts';
import type { ConfState, HardState, NodeId, SnapshotMeta } from './messages.ts';

/** What a node starts from, and its bounds. Sizes are bytes by `entryBytes`, times are ticks. */
export type RaftConfig = {
  readonly id: NodeId;
  /** The durable log as found on disk. */
  readonly log: LogReader;
  /** As found on disk; absent on a first start. */
  readonly hardState?: HardState;
  /**
   * The configuration as of `applied`. The first members of a group all start with the same one, at index 0. One
   * that joins later starts without voters: it waits until a leader that has it as a member sends it a snapshot.
   */
  readonly confState: ConfState;
  /** Index up to which the state machine's durable state has applied the log. */
  readonly applied: number;
  /** A follower that hears nothing for this many ticks, and up to twice as many, starts an election. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly prng: Prng;
  /** What a snapshot taken now would be; `undefined` when none can be taken. The one sent may be newer. */
  readonly snapshotMeta: () => SnapshotMeta | undefined;
  readonly maxAppendBytes?: number;
  readonly maxInflightMessages?: number;
  readonly maxInflightBytes?: number;
  readonly maxUncommittedBytes?: number;
  readonly maxCommittedBytesPerReady?: number;
  readonly maxPendingReads?: number;
  /** Both are always on; the fields say so to readers. */
  readonly preVote?: true;
  readonly checkQuorum?: true;
};

export type ResolvedConfig = Required<Omit<RaftConfig, 'hardState' | 'preVote' | 'checkQuorum'>> & {
  readonly hardState: HardState;
};

/** A configuration that cannot work: which field, what was given, what would do. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly field: string;
  readonly expected: string;

  constructor(field: string, given: unknown, expected: string) {
    super(`raft config: ${field} is ${String(given)}, expected ${expected}`);
    this.field = field;
    this.expected = expected;
  }
}

const MAX_ID = (1n << 64n) - 1n;

/** Checks a configuration and fills in its defaults. Throws `ConfigError`; nothing has happened then. */
export function validateConfig(config: RaftConfig): ResolvedConfig {
  requireId('id', config.id);
  requireConfState(config.confState);
  requireInteger('electionTicks', config.electionTicks, 2);
  requireInteger('heartbeatTicks', config.heartbeatTicks, 1);
  if (config.electionTicks <= config.heartbeatTicks) {
    throw new ConfigError(
      'electionTicks',
      config.electionTicks,
      `more than heartbeatTicks (${config.heartbeatTicks})`,
    );
  }
  const resolved = withDefaults(config);
  requireInteger('maxAppendBytes', resolved.maxAppendBytes, 1);
  requireInteger('maxInflightMessages', resolved.maxInflightMessages, 1);
  requireInteger('maxInflightBytes', resolved.maxInflightBytes, 1);
  requireInteger('maxUncommittedBytes', resolved.maxUncommittedBytes, 1);
  requireInteger('maxCommittedBytesPerReady', resolved.maxCommittedBytesPerReady, 1);
  requireInteger('maxPendingReads', resolved.maxPendingReads, 1);
  requireWatermarks(resolved);
  return resolved;
}

function withDefaults(config: RaftConfig): ResolvedConfig {
  const { compactedIndex } = config.log;
  return {
    id: config.id,
    log: config.log,
    hardState: config.hardState ?? {
      term: config.log.term(compactedIndex) ?? 0,
      vote: 0n,
      commit: compactedIndex,
    },
    confState: config.confState,
    applied: config.applied,
    electionTicks: config.electionTicks,
    heartbeatTicks: config.heartbeatTicks,
    prng: config.prng,
    snapshotMeta: config.snapshotMeta,
    maxAppendBytes: config.maxAppendBytes ?? DEFAULT_MAX_APPEND_BYTES,
    maxInflightMessages: config.maxInflightMessages ?? DEFAULT_MAX_INFLIGHT_MESSAGES,
    maxInflightBytes: config.maxInflightBytes ?? DEFAULT_MAX_INFLIGHT_BYTES,
    maxUncommittedBytes: config.maxUncommittedBytes ?? DEFAULT_MAX_UNCOMMITTED_BYTES,
    maxCommittedBytesPerReady: config.maxCommittedBytesPerReady ?? DEFAULT_MAX_COMMITTED_BYTES_PER_READY,
    maxPendingReads: config.maxPendingReads ?? DEFAULT_MAX_PENDING_READS,
  };
}

function requireInteger(field: string, value: unknown, least: number): void {
  if (!Number.isSafeInteger(value) || (value as number) < least) {
    throw new ConfigError(field, value, `a whole number of at least ${least}`);
  }
}

function requireId(field: string, value: unknown): void {
  if (typeof value !== 'bigint' || value <= 0n || value > MAX_ID) {
    throw new ConfigError(field, value, 'a bigint from 1 to 2^64 - 1');
  }
}

function requireConfState(conf: ConfState): void {
  const incoming = new Set(conf.voters);
  for (const list of ['voters', 'votersOutgoing', 'learners', 'learnersNext'] as const) {
    for (const id of conf[list]) requireId(`confState.${list}`, id);
    if (new Set(conf[list]).size !== conf[list].length) {
      throw new ConfigError(`confState.${list}`, conf[list], 'each id once');
    }
  }
  for (const id of conf.learners) {
    if (incoming.has(id) || conf.votersOutgoing.includes(id)) {
      throw new ConfigError('confState.learners', conf.learners, 'no id that is a voter too');
    }
  }
  for (const id of conf.learnersNext) {
    if (!conf.votersOutgoing.includes(id)) {
      throw new ConfigError('confState.learnersNext', conf.learnersNext, 'only ids of votersOutgoing');
    }
  }
}

/** compacted <= applied <= commit <= last: each follows from the one before being durable first. */
function requireWatermarks({ log, applied, hardState }: ResolvedConfig): void {
  requireInteger('applied', applied, 0);
  requireInteger('hardState.term', hardState.term, 0);
  requireInteger('hardState.commit', hardState.commit, 0);
  if (applied < log.compactedIndex) {
    throw new ConfigError('applied', applied, `at least the log's compactedIndex (${log.compactedIndex})`);
  }
  if (applied > log.lastIndex) {
    throw new ConfigError('applied', applied, `at most the log's lastIndex (${log.lastIndex})`);
  }
  if (hardState.commit > log.lastIndex) {
    throw new ConfigError(
      'hardState.commit',
      hardState.commit,
      `at most the log's lastIndex (${log.lastIndex})`,
    );
  }
  const lastTerm = log.term(log.lastIndex) ?? 0;
  if (hardState.term < lastTerm) {
    throw new ConfigError('hardState.term', hardState.term, `at least the last entry's term (${lastTerm})`);
  }
}
