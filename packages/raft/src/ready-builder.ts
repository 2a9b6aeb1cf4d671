/** Numbers Readys, notices what changed since the last one, and remembers what each makes durable. */
import { flushAppends, wantsAppend } from './append.ts';
import { canStartRead, startReadRound } from './leader.ts';
import type { HardState } from './messages.ts';
import type { Ready, SoftState } from './ready.ts';
import type { RaftState } from './state.ts';

export class ReadyBuilder {
  readonly #s: RaftState;
  #lastNumber = 0;
  #lastPersisted = 0;
  #softState: SoftState;
  #hardState: HardState;
  /** Hard states handed out and not yet durable. */
  #underWay: { readonly number: number; readonly hardState: HardState }[] = [];

  constructor(s: RaftState) {
    this.#s = s;
    this.#softState = { role: s.role, leader: s.leader, term: s.term };
    this.#hardState = s.durable;
  }

  get hasReady(): boolean {
    const s = this.#s;
    return (
      s.messages.length > 0 ||
      s.messagesAfterPersist.length > 0 ||
      s.readStates.length > 0 ||
      s.refusedProposals.length > 0 ||
      s.log.hasUnhanded ||
      s.log.hasCommittedToHandOut ||
      this.#hardStateChanged ||
      this.#softStateChanged ||
      (s.role === 'leader' && (canStartRead(s) || s.peers.some((pr) => wantsAppend(s, pr))))
    );
  }

  take(): Ready {
    const s = this.#s;
    if (s.role === 'leader') {
      if (canStartRead(s)) startReadRound(s);
      flushAppends(s);
    }
    const number = ++this.#lastNumber;
    const { entries, snapshot } = s.log.handOut(number);
    const termOrVoteChanged = this.#hardState.term !== s.term || this.#hardState.vote !== s.vote;
    const softState = this.#takeSoftState();
    const hardState = this.#takeHardState(number);
    const committed = s.log.handOutCommitted();
    s.uncommittedBytes = Math.max(0, s.uncommittedBytes - committed.bytes);
    const ready: Ready = {
      number,
      ...(softState && { softState }),
      ...(hardState && { hardState }),
      entries,
      ...(snapshot && { snapshot }),
      mustPersist: entries.length > 0 || snapshot !== undefined || termOrVoteChanged,
      messages: s.messages,
      messagesAfterPersist: s.messagesAfterPersist,
      committedEntries: committed.entries,
      readStates: s.readStates,
      refusedProposals: s.refusedProposals,
    };
    s.messages = [];
    s.messagesAfterPersist = [];
    s.readStates = [];
    s.refusedProposals = [];
    return ready;
  }

  /** False when `number` was acknowledged before. */
  persisted(number: number): boolean {
    if (number <= this.#lastPersisted) return false;
    if (number > this.#lastNumber)
      throw new RangeError(`Ready ${number} persisted, handed out ${this.#lastNumber}`);
    this.#lastPersisted = number;
    while (this.#underWay.length > 0 && (this.#underWay[0] as { number: number }).number <= number) {
      this.#s.durable = (this.#underWay.shift() as { hardState: HardState }).hardState;
    }
    const installed = this.#s.log.persisted(number);
    // Not before: until then the driver may still apply what was committed earlier, by the old configuration.
    if (installed) this.#s.setConf(installed.confState);
    return true;
  }

  get #hardStateChanged(): boolean {
    const s = this.#s;
    const last = this.#hardState;
    return last.term !== s.term || last.vote !== s.vote || last.commit !== s.log.committed;
  }

  get #softStateChanged(): boolean {
    const s = this.#s;
    const last = this.#softState;
    return last.role !== s.role || last.leader !== s.leader || last.term !== s.term;
  }

  #takeSoftState(): SoftState | undefined {
    if (!this.#softStateChanged) return undefined;
    this.#softState = { role: this.#s.role, leader: this.#s.leader, term: this.#s.term };
    return this.#softState;
  }

  #takeHardState(number: number): HardState | undefined {
    if (!this.#hardStateChanged) return undefined;
    this.#hardState = { term: this.#s.term, vote: this.#s.vote, commit: this.#s.log.committed };
    this.#underWay.push({ number, hardState: this.#hardState });
    return this.#hardState;
  }
}
