/** Replication: what a leader sends and how a follower takes it (Raft section 5.3). */
import { entryBytes, type Message } from './messages.ts';
import type { Progress } from './progress.ts';
import type { RaftState } from './state.ts';

type Append = Message & { readonly type: 'append' };
type Heartbeat = Message & { readonly type: 'heartbeat' };
type Snapshot = Message & { readonly type: 'snapshot' };

/** Whether the leader has something for this peer that may leave now. */
export function wantsAppend(s: RaftState, pr: Progress): boolean {
  if (pr.state === 'snapshot' || (pr.state === 'probe' && pr.paused)) return false;
  if (pr.nudge || pr.sentCommit < Math.min(s.log.committed, pr.next - 1)) return true;
  if (pr.next <= s.log.lastIndex) return pr.state === 'probe' || !pr.inflights.full;
  return pr.state === 'probe' && pr.match < pr.next - 1;
}

/** Sends to every peer all that its window admits. Runs once per Ready, so that many proposals share a message. */
export function flushAppends(s: RaftState): void {
  for (const pr of s.peers) while (wantsAppend(s, pr)) sendAppend(s, pr);
}

function sendAppend(s: RaftState, pr: Progress): void {
  const prevIndex = pr.next - 1;
  const prevTerm = s.log.term(prevIndex);
  if (prevTerm === undefined) {
    sendSnapshot(s, pr);
    return;
  }
  const hasRoom = pr.state === 'probe' || !pr.inflights.full;
  const entries =
    hasRoom && pr.next <= s.log.lastIndex ? s.log.entries(pr.next, s.config.maxAppendBytes) : [];
  const commit = s.log.committed;
  s.send({ type: 'append', from: s.id, to: pr.id, term: s.term, prevIndex, prevTerm, entries, commit });
  pr.nudge = false;
  pr.sentCommit = Math.max(pr.sentCommit, Math.min(commit, prevIndex + entries.length));
  if (pr.state === 'probe') {
    pr.paused = true;
  } else if (entries.length > 0) {
    let bytes = 0;
    for (const entry of entries) bytes += entryBytes(entry);
    pr.next += entries.length;
    pr.inflights.add(pr.next - 1, bytes);
  }
}

/** The peer needs what is compacted. One that does not answer would not answer a snapshot either. */
export function sendSnapshot(s: RaftState, pr: Progress): void {
  const snapshot = pr.recentActive ? s.config.snapshotMeta() : undefined;
  if (snapshot === undefined || snapshot.index <= pr.match) {
    if (pr.state !== 'probe') pr.becomeProbe();
    pr.nudge = false;
    pr.paused = true;
    return;
  }
  pr.becomeSnapshot(snapshot.index);
  s.send({ type: 'snapshot', from: s.id, to: pr.id, term: s.term, snapshot });
}

/** A follower takes entries, or says where its log may agree with the leader's. */
export function acceptAppend(s: RaftState, m: Append): void {
  const { log } = s;
  if (s.conf.voters.length === 0 && log.pendingSnapshot === undefined) {
    // The first members were configured before entry 1, so the log alone cannot tell a new one who they are.
    rejectAppend(s, { ...m, prevIndex: 0, prevTerm: 0 });
    return;
  }
  if (m.prevIndex < log.committed) {
    acknowledge(s, m, log.committed);
    return;
  }
  if (!log.matches(m.prevIndex, m.prevTerm)) {
    rejectAppend(s, m);
    return;
  }
  log.accept(m.entries);
  const last = m.prevIndex + m.entries.length;
  log.commitTo(Math.min(m.commit, last));
  acknowledge(s, m, last);
}

/** The answer confirms that the sender led when this node heard it; that needs nothing durable. */
export function acceptHeartbeat(s: RaftState, m: Heartbeat): void {
  s.log.commitTo(m.commit);
  s.send({ type: 'heartbeatResponse', from: s.id, to: m.from, term: s.term, context: m.context });
}

export function acceptSnapshot(s: RaftState, m: Snapshot): void {
  const { snapshot } = m;
  const { log } = s;
  if (snapshot.index <= log.committed) {
    acknowledge(s, m, log.committed);
    return;
  }
  if (log.matches(snapshot.index, snapshot.term)) {
    log.commitTo(snapshot.index);
    acknowledge(s, m, log.committed);
    return;
  }
  log.restore(snapshot);
  acknowledge(s, m, snapshot.index);
}

/**
 * The leader counts what is acknowledged as durable here, in this term: it waits for the disk, except where both
 * entries and term are known durable already.
 */
function acknowledge(s: RaftState, m: Message, index: number): void {
  const response: Message = {
    type: 'appendResponse',
    from: s.id,
    to: m.from,
    term: s.term,
    index,
    reject: false,
    hintIndex: 0,
    hintTerm: 0,
  };
  if (index <= s.log.stableIndex && s.durable.term === s.term) s.send(response);
  else s.sendAfterPersist(response);
}

/**
 * Names the last entry here that may be in the leader's log: one no later than prevIndex and of no later term than
 * prevTerm. The leader does the same from its side, so that each round skips a whole term of either log (the
 * paper's "conflicting term" hint, end of section 5.3, taken both ways). Every log matches at index 0: rejecting there
 * asks for a snapshot. A rejection promises nothing, so it leaves at once.
 */
function rejectAppend(s: RaftState, m: Append): void {
  const hintIndex = s.log.lastIndexWithTermUpTo(m.prevIndex, m.prevTerm);
  s.send({
    type: 'appendResponse',
    from: s.id,
    to: m.from,
    term: s.term,
    index: m.prevIndex,
    reject: true,
    hintIndex,
    hintTerm: s.log.term(hintIndex) ?? 0,
  });
}

/** Where to try next after a rejection: see `rejectAppend`. */
export function nextProbe(s: RaftState, hintIndex: number, hintTerm: number): number {
  return hintTerm > 0 ? s.log.lastIndexWithTermUpTo(hintIndex, hintTerm) : hintIndex;
}
