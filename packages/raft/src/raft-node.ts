import { assert } from '@muster/base';
import { campaign, countOwnVote } from './candidate.ts';
import { encodeConfChange } from './conf-change-codec.ts';
import { type RaftConfig, validateConfig } from './config.ts';
import { maybeStand } from './follower.ts';
import { maybeCommit, type ProposedEntry, peerUnreachable, propose, snapshotSent } from './leader.ts';
import { type ConfChange, isJoint, isMember, nextConfState } from './membership.ts';
import { type ConfState, type Entry, type Message, NONE, type NodeId } from './messages.ts';
import type { Ready, Role } from './ready.ts';
import { ReadyBuilder } from './ready-builder.ts';
import { afterConfChange, maybeLeaveJoint } from './reconfigure.ts';
import { RaftState } from './state.ts';
import { type RaftStatus, statusOf } from './status.ts';
import { leaderGone, step, tick } from './step.ts';
import { startTransfer, type TransferResult } from './transfer.ts';

/** What became of a proposal: on its way (nothing more is promised), or refused and without effect. */
export type ProposeResult =
  | { readonly accepted: true }
  | { readonly accepted: false; readonly reason: 'noLeader' | 'transferring' | 'overloaded' | 'notMember' };

/** A membership change can also be refused because another one is under way, or because it does not fit. */
export type ConfChangeResult =
  | ProposeResult
  | { readonly accepted: false; readonly reason: 'confChangePending' | 'invalidConfChange' };

const ACCEPTED = { accepted: true } as const;

/**
 * One member of a raft group, pure and synchronous. Feed it `tick`, `step` and proposals; while `hasReady`, take a
 * Ready, do what it says, and report back with `onPersisted` and `onApplied`. No call does I/O or calls back.
 *
 * The driver's duties. Readys are made durable in order of number. When one is: append its entries to the log behind
 * `RaftConfig.log` (or, for a snapshot, reset that log to it), send `messagesAfterPersist`, call `onPersisted`. Apply
 * `committedEntries` in order; for a `config` entry call `applyConfChange` before `onApplied` passes it. Compact the
 * log only up to what is applied. On `softState` with another leader or term, ask pending reads again: they may be
 * lost, as any message may.
 */
export class RaftNode {
  readonly id: NodeId;
  readonly #s: RaftState;
  readonly #readys: ReadyBuilder;

  /** Throws `ConfigError`. */
  constructor(config: RaftConfig) {
    this.#s = new RaftState(validateConfig(config));
    this.id = this.#s.id;
    this.#readys = new ReadyBuilder(this.#s);
  }

  get term(): number {
    return this.#s.term;
  }

  get role(): Role {
    return this.#s.role;
  }

  /** NONE (0n) when unknown. */
  get leader(): NodeId {
    return this.#s.leader;
  }

  get confState(): ConfState {
    return this.#s.conf;
  }

  /** Time passes by one tick. */
  tick(): void {
    tick(this.#s);
  }

  /**
   * Takes a message of another node. Members and strangers are judged alike where the protocol demands it: a vote
   * or an append may come from a member that this node does not know yet. Acknowledgements of strangers are dropped.
   */
  step(message: Message): void {
    step(this.#s, message);
  }

  /**
   * Proposes entries, all or none, in order. A follower sends them to the leader as one message,
   * which counts in this term alone: when an entry of a later term is applied first, they are lost for good. When the
   * leader does not take them, a later Ready says so by `context`, unless that is 0.
   */
  propose(datas: readonly Uint8Array[], context = 0): ProposeResult {
    return this.#propose(
      datas.map((data) => ({ type: 'normal', data })),
      context,
    ) as ProposeResult;
  }

  /** Proposes a membership change. Only a leader can say that it does not fit; of a forwarded one see `propose`. */
  proposeConfChange(change: ConfChange, context = 0): ConfChangeResult {
    return this.#propose([{ type: 'config', data: encodeConfChange(change) }], context);
  }

  #propose(entries: readonly ProposedEntry[], context: number): ConfChangeResult {
    const s = this.#s;
    if (!isMember(s.conf, s.id)) return { accepted: false, reason: 'notMember' };
    if (s.role === 'leader') {
      const reason = propose(s, entries);
      return reason === undefined ? ACCEPTED : { accepted: false, reason };
    }
    if (s.leader === NONE) return { accepted: false, reason: 'noLeader' };
    s.send({ type: 'propose', from: s.id, to: s.leader, term: s.term, context, entries });
    return ACCEPTED;
  }

  /**
   * Asks for an index from which a local read is linearizable. The answer is a ReadState with the same `context` (a
   * whole number, the caller's choice) in a later Ready. It may never come, and it may come twice.
   */
  readIndex(context: number): ProposeResult {
    const s = this.#s;
    if (!isMember(s.conf, s.id)) return { accepted: false, reason: 'notMember' };
    if (s.role === 'leader') {
      return s.reads.add({ from: s.id, context }) ? ACCEPTED : { accepted: false, reason: 'overloaded' };
    }
    if (s.leader === NONE) return { accepted: false, reason: 'noLeader' };
    s.send({ type: 'readIndex', from: s.id, to: s.leader, term: s.term, context });
    return ACCEPTED;
  }

  /** Stands for election now, by a pre-vote first, if this node is a voter that could lead. */
  campaign(): void {
    campaign(this.#s, 'preElection');
  }

  /**
   * The process of `peer` is known dead, for instance by a connection reset. If it was the leader, the survivors
   * elect another without waiting for the timeout. A mistake is harmless: this starts pre-votes only.
   */
  leaderGone(peer: NodeId): void {
    leaderGone(this.#s, peer);
  }

  /** Hands leadership to a voter; asked of a follower, it asks the leader to. Aborts after an election timeout. */
  transferLeadership(target: NodeId): TransferResult {
    const s = this.#s;
    if (s.role === 'leader') return startTransfer(s, target);
    if (s.leader === NONE) return { accepted: false, reason: 'noLeader' };
    s.send({ type: 'transferLeader', from: s.id, to: s.leader, term: s.term, target });
    return ACCEPTED;
  }

  /** A message to `peer` could not be sent. */
  reportUnreachable(peer: NodeId): void {
    if (this.#s.role === 'leader') peerUnreachable(this.#s, peer);
  }

  /** The snapshot that a 'snapshot' message announced has been taken in whole by `peer`, or has not. */
  reportSnapshot(peer: NodeId, ok: boolean): void {
    if (this.#s.role === 'leader') snapshotSent(this.#s, peer, ok);
  }

  get hasReady(): boolean {
    return this.#readys.hasReady;
  }

  /** What is to be done now. Any number may be taken before the first is acknowledged. */
  takeReady(): Ready {
    return this.#readys.take();
  }

  /** Ready `number` and all before it are durable, and the log behind `RaftConfig.log` shows it. */
  onPersisted(number: number): void {
    if (!this.#readys.persisted(number)) return;
    const s = this.#s;
    countOwnVote(s);
    const self = s.self;
    if (s.role === 'leader' && self?.maybeAdvance(s.log.stableIndex)) maybeCommit(s);
  }

  /** All committed entries up to `index` have been applied. */
  onApplied(index: number): void {
    this.#s.log.appliedTo(index);
    maybeLeaveJoint(this.#s);
    maybeStand(this.#s);
  }

  /**
   * Puts a committed membership change into force; returns the configuration from now on. One that does not fit
   * (which a leader does not let into the log) changes nothing, on every member alike.
   */
  applyConfChange(change: ConfChange): ConfState {
    const s = this.#s;
    const next = nextConfState(s.conf, change);
    if (typeof next === 'string') return s.conf;
    assert(
      next.voters.length > 0 && (isJoint(next) || next.learnersNext.length === 0),
      'a whole configuration',
    );
    s.setConf(next);
    afterConfChange(s);
    return next;
  }

  status(): RaftStatus {
    return statusOf(this.#s);
  }

  /** The term at an index, `undefined` when it is compacted or not there. */
  termAt(index: number): number | undefined {
    return this.#s.log.term(index);
  }

  /** An entry of the log, durable or not, `undefined` when it is compacted or not there. For checks, not for bulk. */
  entryAt(index: number): Entry | undefined {
    const { log } = this.#s;
    return index >= log.firstIndex && index <= log.lastIndex
      ? log.entries(index, 0, index + 1)[0]
      : undefined;
  }
}
