import type { Engine, EngineReader, MemberInfo, StateMachine } from '@muster/kv';
import {
  EMPTY_CONF_STATE,
  type HardState,
  MemoryLog,
  NONE,
  nextConfState,
  RaftNode,
  type SnapshotMeta,
} from '@muster/raft';
import { ApplyLoop } from './apply-loop.ts';
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

/** True of the state of one that joins and has not been sent anything yet: it has to ask the others again. */
export function isUnfilled(engine: EngineReader): boolean {
  const stored = engine.get('meta', RAFT_META_KEY);
  if (stored === undefined) return true;
  const { index, confState } = decodeRaftMeta(stored);
  return index === 0 && confState.voters.length === 0;
}

/**
 * Makes `self` the only member, with all that is in its log (etcd's `force-new-cluster`, which drops what it does not
 * know to be committed: here that is kept, for some of it may have been acknowledged).
 *
 * @throws Error when the member was removed
 */
export function startAlone(
  start: RaftStart,
  { id: self, engine }: { readonly id: bigint; readonly engine: Engine },
  machine: StateMachine,
): RaftStart {
  if (isUnfilled(engine)) return start;
  const { log } = start;
  const meta = start.resetLog ? start.meta : appliedWhole(start, engine, machine);
  const member = machine.members().find(({ id }) => id === self);
  if (member === undefined) {
    throw new Error(
      `member ${self.toString(16)} was removed from its cluster, as its own log says: it cannot go on alone under its id. ` +
        'Go on from another member, or restore a snapshot into a new cluster.',
    );
  }
  for (const { id } of machine.members()) if (id !== self) machine.removeMember(id);
  machine.setMember({ ...member, isLearner: false });
  const alone: SnapshotMeta = { ...meta, confState: { ...EMPTY_CONF_STATE, voters: [self] } };
  engine.put('meta', RAFT_META_KEY, encodeRaftMeta(alone));
  machine.flushMeta();
  engine.commit(alone.index);
  log.reset(alone.index, alone.term);
  const term = Math.max(start.hardState.term, alone.term);
  return { log, hardState: { ...start.hardState, term, commit: alone.index }, meta: alone, resetLog: true };
}

/** Where the state stands once every entry of the log is applied. */
function appliedWhole({ log, meta }: RaftStart, engine: Engine, machine: StateMachine): SnapshotMeta {
  if (log.lastIndex === meta.index) return meta;
  let { confState } = meta;
  const loop = new ApplyLoop({
    engine,
    machine,
    self: NONE,
    meta,
    batchMax: log.lastIndex - meta.index,
    listener: {
      onConfig: (change) => {
        const next = nextConfState(confState, change);
        if (typeof next !== 'string') confState = next;
        return confState;
      },
      onNewTerm: () => {},
      onRevision: () => {},
      onAuthChange: () => {},
      onCommand: () => {},
      onApplied: () => {},
    },
  });
  loop.push(log.entries(meta.index + 1, log.lastIndex + 1, Number.POSITIVE_INFINITY));
  while (loop.run());
  return loop.meta;
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
