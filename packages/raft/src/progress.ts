import type { Inflights } from './inflights.ts';
import type { NodeId } from './messages.ts';

/**
 * probe: where the logs agree is not known, one append at a time, paced by heartbeats. replicate: pipelined within
 * the window. snapshot: nothing but heartbeats until the snapshot has arrived or failed.
 */
export type ProgressState = 'probe' | 'replicate' | 'snapshot';

/** The leader's view of one member. match < next always; everything up to match is durable there. */
export class Progress {
  readonly id: NodeId;
  readonly inflights: Inflights;
  isLearner: boolean;
  match = 0;
  next = 1;
  state: ProgressState = 'probe';
  /** In probe: one append is out; wait for its answer, or for that of the next heartbeat. */
  paused = false;
  /** In snapshot: the index of the snapshot on its way. */
  pendingSnapshot = 0;
  /** Heard from since the last CheckQuorum round. */
  recentActive = true;
  /** The commit index that it will know of when all that was sent arrives. */
  sentCommit = 0;
  /** Send an append although there is nothing new in it, to find out what was lost. */
  nudge = false;
  /** The latest ReadIndex round that it confirmed. */
  readAck = 0;

  constructor(id: NodeId, isLearner: boolean, inflights: Inflights) {
    this.id = id;
    this.isLearner = isLearner;
    this.inflights = inflights;
  }

  reset(next: number): void {
    this.match = 0;
    this.next = next;
    this.recentActive = false;
    this.readAck = 0;
    this.#enter('probe');
  }

  becomeProbe(): void {
    const arrived = this.state === 'snapshot' ? this.pendingSnapshot : 0;
    this.next = Math.max(this.match, arrived) + 1;
    this.#enter('probe');
  }

  becomeReplicate(): void {
    this.next = this.match + 1;
    this.#enter('replicate');
  }

  becomeSnapshot(index: number): void {
    this.#enter('snapshot');
    this.pendingSnapshot = index;
  }

  /** An acknowledgement. False when it is old news. */
  maybeAdvance(index: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.paused = false;
    return true;
  }

  /**
   * A rejection of an append after index `rejected`; `hint` is where to try next. False when it is old news: an
   * answer to something other than what is out now.
   */
  maybeRetreat(rejected: number, hint: number): boolean {
    if (this.state === 'snapshot') return false;
    if (this.state === 'replicate') {
      if (rejected <= this.match) return false;
      this.becomeProbe();
      return true;
    }
    if (this.next - 1 !== rejected) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    this.paused = false;
    return true;
  }

  #enter(state: ProgressState): void {
    this.state = state;
    this.paused = false;
    this.nudge = false;
    this.pendingSnapshot = 0;
    this.sentCommit = Math.min(this.sentCommit, this.match);
    this.inflights.clear();
  }
}
