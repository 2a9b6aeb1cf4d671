import { MAX_READ_ROUNDS } from './limits.ts';
import type { NodeId } from './messages.ts';

export type ReadRequest = { readonly from: NodeId; readonly context: number };
type Round = { readonly id: number; readonly index: number; readonly requests: readonly ReadRequest[] };

/**
 * The leader's ReadIndex queue (thesis section 6.4). All requests taken before a round starts share it. Round ids
 * grow, and a heartbeat confirms its round and every earlier one: whoever answered then still knew this leader.
 */
export class ReadOnly {
  readonly #maxPending: number;
  #waiting: ReadRequest[] = [];
  #rounds: Round[] = [];
  #lastId = 0;
  #pending = 0;

  constructor(maxPending: number) {
    this.#maxPending = maxPending;
  }

  /** Requests held, waiting or under way. */
  get pending(): number {
    return this.#pending;
  }

  /** The id of the newest round under way; 0 when there is none. */
  get openRound(): number {
    return this.#rounds.length === 0 ? 0 : this.#lastId;
  }

  get canStart(): boolean {
    return this.#waiting.length > 0 && this.#rounds.length < MAX_READ_ROUNDS;
  }

  /** False when the queue is full. */
  add(request: ReadRequest): boolean {
    if (this.#pending >= this.#maxPending) return false;
    this.#waiting.push(request);
    this.#pending++;
    return true;
  }

  /** Starts a round for all that wait; they read at `commit`. Returns its id. */
  start(commit: number): number {
    this.#rounds.push({ id: ++this.#lastId, index: commit, requests: this.#waiting });
    this.#waiting = [];
    return this.#lastId;
  }

  /** Rounds up to `id` are confirmed. Calls back for each of their requests with the index to read at. */
  confirm(id: number, answer: (request: ReadRequest, index: number) => void): void {
    while (this.#rounds.length > 0 && (this.#rounds[0] as Round).id <= id) {
      const round = this.#rounds.shift() as Round;
      this.#pending -= round.requests.length;
      for (const request of round.requests) answer(request, round.index);
    }
  }

  /** Leadership is gone: nothing of this can be answered any more. */
  clear(): void {
    this.#waiting = [];
    this.#rounds = [];
    this.#pending = 0;
  }
}
