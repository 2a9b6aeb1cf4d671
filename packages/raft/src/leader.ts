/** What a leader does: replicate, commit, keep its quorum, answer reads (Raft sections 5.3, 5.4, thesis 6.2, 6.4). */
import { nextProbe, sendSnapshot } from './append.ts';
import { decodeConfChange } from './conf-change-codec.ts';
import { nextConfState } from './membership.ts';
import { type Entry, entryBytes, type Message, NONE, type NodeId, type ProposalRefusal } from './messages.ts';
import type { Progress } from './progress.ts';
import { jointValue } from './quorum.ts';
import type { ReadRequest } from './read-only.ts';
import type { RaftState } from './state.ts';
import { abortTransfer, continueTransfer, receiveTransferRequest } from './transfer.ts';

type AppendResponse = Message & { readonly type: 'appendResponse' };
type HeartbeatResponse = Message & { readonly type: 'heartbeatResponse' };
export type ProposedEntry = { readonly type: Entry['type']; readonly data: Uint8Array };
export type Refusal = Exclude<ProposalRefusal, 'noLeader'>;

const NO_DATA = new Uint8Array(0);

/** An empty entry of the new term lets the leader commit what earlier terms left (Raft section 8). */
export function startLeading(s: RaftState): void {
  s.becomeLeader();
  // A change of an earlier term may be among what is not applied yet: wait for all of it.
  s.pendingConfIndex = s.log.lastIndex;
  s.log.push(s.term, 'normal', NO_DATA);
  broadcastHeartbeat(s);
}

export function stepLeader(s: RaftState, m: Message): void {
  if (m.type === 'propose') {
    const reason = propose(s, m.entries);
    if (reason) refuseProposal(s, m, reason);
    return;
  }
  const pr = s.progress.get(m.from);
  if (pr === undefined) return;
  switch (m.type) {
    case 'appendResponse':
      receiveAppendResponse(s, pr, m);
      return;
    case 'heartbeatResponse':
      receiveHeartbeatResponse(s, pr, m);
      return;
    case 'readIndex':
      s.reads.add({ from: m.from, context: m.context });
      return;
    case 'transferLeader':
      receiveTransferRequest(s, m.target);
      return;
    default:
      return;
  }
}

export function tickLeader(s: RaftState): void {
  s.heartbeatElapsed++;
  s.electionElapsed++;
  if (s.electionElapsed >= s.config.electionTicks) {
    s.electionElapsed = 0;
    checkQuorum(s);
    if (s.role !== 'leader') return;
    abortTransfer(s);
  }
  if (s.heartbeatElapsed >= s.config.heartbeatTicks) {
    s.heartbeatElapsed = 0;
    broadcastHeartbeat(s);
  }
}

/** A leader that has not heard from a majority for an election timeout steps down (thesis section 6.2). */
function checkQuorum(s: RaftState): void {
  const active = (pr: Progress) => (pr.id === s.id || pr.recentActive ? 1 : 0);
  const alive = jointValue(s.incoming, s.outgoing, active) === 1;
  for (const pr of s.peers) pr.recentActive = false;
  if (!alive) s.becomeFollower(s.term, NONE);
}

/** The commit index sent is one that the peer has durably: a heartbeat may reach it before the entries do. */
function broadcastHeartbeat(s: RaftState): void {
  for (const pr of s.peers) {
    s.send({
      type: 'heartbeat',
      from: s.id,
      to: pr.id,
      term: s.term,
      commit: Math.min(pr.match, s.log.committed),
      context: s.reads.openRound,
    });
  }
}

/** Tells the proposer at once, so that it need not wait for its deadline. */
export function refuseProposal(
  s: RaftState,
  m: Message & { readonly type: 'propose' },
  reason: ProposalRefusal,
): void {
  if (m.context === 0) return;
  s.send({ type: 'proposeRefused', from: s.id, to: m.from, term: s.term, context: m.context, reason });
}

/** All or nothing. Returns why not. */
export function propose(s: RaftState, entries: readonly ProposedEntry[]): Refusal | undefined {
  if (s.self === undefined) return 'notMember';
  if (s.transferee !== NONE) return 'transferring';
  let bytes = 0;
  for (const entry of entries) {
    bytes += entryBytes(entry);
    if (entry.type !== 'config') continue;
    const refusal = entries.length === 1 ? refuseConfChange(s, entry.data) : 'invalidConfChange';
    if (refusal) return refusal;
  }
  if (s.uncommittedBytes > 0 && s.uncommittedBytes + bytes > s.config.maxUncommittedBytes)
    return 'overloaded';
  s.uncommittedBytes += bytes;
  for (const entry of entries) {
    s.log.push(s.term, entry.type, entry.data);
    if (entry.type === 'config') s.pendingConfIndex = s.log.lastIndex;
  }
  return undefined;
}

/** One change at a time: the next must be judged by the configuration that this one leads to. */
function refuseConfChange(s: RaftState, data: Uint8Array): Refusal | undefined {
  if (s.pendingConfIndex > s.log.applied) return 'confChangePending';
  try {
    return typeof nextConfState(s.conf, decodeConfChange(data)) === 'string'
      ? 'invalidConfChange'
      : undefined;
  } catch {
    return 'invalidConfChange';
  }
}

function receiveAppendResponse(s: RaftState, pr: Progress, m: AppendResponse): void {
  pr.recentActive = true;
  if (m.reject && m.index === 0) {
    if (pr.state === 'probe' && pr.match === 0) sendSnapshot(s, pr);
    return;
  }
  if (m.reject) {
    pr.maybeRetreat(m.index, nextProbe(s, m.hintIndex, m.hintTerm));
    return;
  }
  if (m.index > s.log.lastIndex) return;
  const advanced = pr.maybeAdvance(m.index);
  if (pr.state === 'replicate') {
    pr.inflights.freeTo(m.index);
  } else if (pr.state === 'probe' ? pr.match === m.index : pr.match + 1 >= s.log.firstIndex) {
    pr.becomeReplicate();
  }
  if (!advanced) return;
  maybeCommit(s);
  continueTransfer(s, pr);
}

/**
 * What a majority has durably is committed, if it is of this term: Raft section 5.4.2. This node's own part counts
 * only when it is durable here, as any other's (thesis section 10.2.1).
 */
export function maybeCommit(s: RaftState): void {
  const index = jointValue(s.incoming, s.outgoing, matchOf);
  if (index > s.log.committed && index <= s.log.lastIndex && s.log.term(index) === s.term)
    s.log.commitTo(index);
}

const matchOf = (pr: Progress) => pr.match;

function receiveHeartbeatResponse(s: RaftState, pr: Progress, m: HeartbeatResponse): void {
  pr.recentActive = true;
  pr.paused = false;
  // Behind without anything new to send: perhaps an append or its answer was lost. An empty one finds out.
  if (pr.match < s.log.lastIndex && pr.state === 'replicate') pr.nudge = true;
  if (m.context > pr.readAck) {
    pr.readAck = m.context;
    confirmReads(s);
  }
}

/** Reads wait until an entry of this term is committed: before, the commit index may be stale (thesis 6.4). */
export function canStartRead(s: RaftState): boolean {
  return s.reads.canStart && s.log.term(s.log.committed) === s.term;
}

export function startReadRound(s: RaftState): void {
  const round = s.reads.start(s.log.committed);
  const self = s.self;
  if (self) self.readAck = round;
  broadcastHeartbeat(s);
  confirmReads(s);
}

/** Also when the quorum changed: those who have yet to answer may not count any more. */
export function confirmReads(s: RaftState): void {
  const round = jointValue(s.incoming, s.outgoing, (pr) => (pr.id === s.id ? s.reads.openRound : pr.readAck));
  s.reads.confirm(round, (request, index) => answerRead(s, request, index));
}

function answerRead(s: RaftState, { from, context }: ReadRequest, index: number): void {
  if (from === s.id) s.readStates.push({ context, index });
  else s.send({ type: 'readIndexResponse', from: s.id, to: from, term: s.term, context, index });
}

/** A send failed: what is under way is probably lost. */
export function peerUnreachable(s: RaftState, peer: NodeId): void {
  const pr = s.progress.get(peer);
  if (pr?.state === 'replicate') pr.becomeProbe();
}

/** A snapshot arrived or failed. Either way wait for the peer's word, or for the next heartbeat's answer. */
export function snapshotSent(s: RaftState, peer: NodeId, ok: boolean): void {
  const pr = s.progress.get(peer);
  if (pr?.state !== 'snapshot') return;
  if (!ok) pr.pendingSnapshot = 0;
  pr.becomeProbe();
  pr.paused = true;
}
