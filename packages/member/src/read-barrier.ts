import { KvError } from '@muster/contract';

/** One linearizable read; `done` runs once it may read locally, or with the error. */
type ReadWaiter = {
  readonly deadlineMs: number;
  readonly done: (error: KvError | undefined) => void;
};

type Round = { readonly context: number; readonly startedMs: number; readonly waiters: ReadWaiter[] };

/**
 * Linearizable reads (thesis section 6.4). All the reads of one turn share a round; rounds may overlap. A round that
 * gets no answer (leader lost, message lost) is asked again with its waiters: asking later is always safe.
 */
export class ReadBarrier {
  readonly #ask: (context: number) => boolean;
  readonly #countMax: number;
  readonly #retryMs: number;
  #queued: ReadWaiter[] = [];
  readonly #rounds = new Map<number, Round>();
  /** Rounds whose index is known but not yet applied. Few: scanned. */
  #known: { index: number; waiters: ReadWaiter[] }[] = [];
  #count = 0;
  #context: number;
  slowRounds = 0;
  /** Reads that ended without an index to read at. */
  failedRounds = 0;

  /**
   * `ask` starts a read-index round, false when there is nobody to ask. `firstContext` is random: the answer to a
   * read of this process's former life must not complete one of this life, which may have to see later writes.
   */
  constructor(options: {
    readonly ask: (context: number) => boolean;
    readonly countMax: number;
    readonly retryMs: number;
    readonly firstContext: number;
  }) {
    this.#context = options.firstContext;
    this.#ask = options.ask;
    this.#countMax = options.countMax;
    this.#retryMs = options.retryMs;
  }

  get size(): number {
    return this.#count;
  }

  /** Fails at once with "too many requests" when full. */
  add(waiter: ReadWaiter): boolean {
    if (this.#count >= this.#countMax) return false;
    this.#count++;
    this.#queued.push(waiter);
    return true;
  }

  /** Called once a turn: starts a round for what is queued. */
  start(nowMs: number): void {
    if (this.#queued.length === 0) return;
    const context = ++this.#context;
    if (!this.#ask(context)) return;
    this.#rounds.set(context, { context, startedMs: nowMs, waiters: this.#queued });
    this.#queued = [];
  }

  onIndex(context: number, index: number, applied: number): void {
    const round = this.#rounds.get(context);
    if (!round) return;
    this.#rounds.delete(context);
    if (index <= applied) this.#complete(round.waiters, undefined);
    else this.#known.push({ index, waiters: round.waiters });
  }

  onApplied(applied: number): void {
    if (this.#known.length === 0) return;
    const ready = this.#known.filter((k) => k.index <= applied);
    if (ready.length === 0) return;
    this.#known = this.#known.filter((k) => k.index > applied);
    for (const { waiters } of ready) this.#complete(waiters, undefined);
  }

  /** The leader changed: rounds under way are asked anew. */
  restartRounds(): void {
    for (const round of this.#rounds.values()) this.#queued.push(...round.waiters);
    this.#rounds.clear();
  }

  /** Fails what is over its deadline and asks again what got no answer. */
  sweep(nowMs: number): void {
    for (const round of [...this.#rounds.values()]) {
      if (nowMs - round.startedMs < this.#retryMs) continue;
      this.slowRounds++;
      this.#rounds.delete(round.context);
      this.#queued.push(...round.waiters);
    }
    this.#queued = this.#expire(this.#queued, nowMs);
    for (const known of this.#known) known.waiters = this.#expire(known.waiters, nowMs);
    this.#known = this.#known.filter((k) => k.waiters.length > 0);
  }

  failAll(error: KvError): void {
    this.restartRounds();
    const all = [...this.#queued, ...this.#known.flatMap((k) => k.waiters)];
    this.#queued = [];
    this.#known = [];
    this.#complete(all, error);
  }

  #expire(waiters: ReadWaiter[], nowMs: number): ReadWaiter[] {
    if (!waiters.some((w) => w.deadlineMs <= nowMs)) return waiters;
    this.#complete(
      waiters.filter((w) => w.deadlineMs <= nowMs),
      new KvError('TIMEOUT'),
    );
    return waiters.filter((w) => w.deadlineMs > nowMs);
  }

  #complete(waiters: readonly ReadWaiter[], error: KvError | undefined): void {
    this.#count -= waiters.length;
    if (error !== undefined) this.failedRounds += waiters.length;
    for (const waiter of waiters) waiter.done(error);
  }
}
