import type { Engine, MemberInfo, StateMachine } from '@muster/kv';
import { type HardState, MemoryLog, NONE, RaftNode, type SnapshotMeta } from '@muster/raft';
import type { MemberOptions } from './member-options.ts';
import type { WalContents } from './ports.ts';
import { decodeRaftMeta, encodeRaftMeta, RAFT_META_KEY } from './raft-meta.ts';

/** What raft starts from. */
export type RaftStart = {
  readonly log: MemoryLog;
  readonly hardState: HardState;
  readonly meta: SnapshotMeta;
  /** The log must start over behind `meta`: an installed snapshot was not yet followed by its log. */
  readonly resetLog: boolean;
};

/**
 * Brings the engine's applied index and the log together, or seeds a new cluster. The engine may stand behind the
 * log (entries are applied again from its own index) and, after a crash while a snapshot was installed, ahead of it.
 *
 * @throws Error when entries between the two are missing: the member's data is damaged
 */
export function openRaftState(
  options: {
    readonly engine: Engine;
    readonly walContents: WalContents;
    readonly initialMembers: readonly MemberInfo[];
  },
  machine: StateMachine,
): RaftStart {
  const { walContents: wal, engine } = options;
  const stored = engine.get('meta', RAFT_META_KEY);
  const meta = stored ? decodeRaftMeta(stored) : seed(options, machine);
  if (wal.compactedIndex > meta.index) {
    throw new Error(
      `the log starts after entry ${wal.compactedIndex}, but the data stands at ${meta.index}: entries between ` +
        'them are missing. Restore the data directory, or remove this member and add it anew.',
    );
  }
  const log = new MemoryLog();
  log.reset(wal.compactedIndex, wal.compactedTerm);
  if (wal.entries.length > 0) log.append(wal.entries);
  const hard = wal.hardState ?? { term: 0, vote: NONE, commit: 0 };
  const resetLog = log.term(meta.index) !== meta.term;
  if (resetLog) log.reset(meta.index, meta.term);
  const hardState: HardState = {
    term: Math.max(hard.term, meta.term),
    vote: hard.term >= meta.term ? hard.vote : NONE,
    commit: Math.max(Math.min(hard.commit, log.lastIndex), meta.index),
  };
  return { log, hardState, meta, resetLog };
}

export function openRaft(
  options: Pick<MemberOptions, 'id' | 'electionMs' | 'heartbeatMs' | 'prng'>,
  start: RaftStart,
  snapshotMeta: () => SnapshotMeta,
): RaftNode {
  return new RaftNode({
    id: options.id,
    log: start.log,
    hardState: start.hardState,
    confState: start.meta.confState,
    applied: start.meta.index,
    electionTicks: Math.max(2, Math.round(options.electionMs / options.heartbeatMs)),
    heartbeatTicks: 1,
    prng: options.prng,
    snapshotMeta,
  });
}

function seed(
  options: { readonly engine: Engine; readonly initialMembers: readonly MemberInfo[] },
  machine: StateMachine,
): SnapshotMeta {
  const members = options.initialMembers;
  const meta: SnapshotMeta = {
    index: 0,
    term: 0,
    confState: {
      voters: members.filter((m) => !m.isLearner).map((m) => m.id),
      votersOutgoing: [],
      learners: members.filter((m) => m.isLearner).map((m) => m.id),
      learnersNext: [],
      autoLeave: false,
    },
  };
  for (const member of members) machine.setMember(member);
  options.engine.put('meta', RAFT_META_KEY, encodeRaftMeta(meta));
  machine.flushMeta();
  options.engine.commit(0);
  return meta;
}
