/** Handle of something scheduled; opaque to its holder. */
export type Timer = { readonly cancelled: boolean };

/** Time, as ports see it. `nowMs` is monotonic within a process; `wallMs` is milliseconds since 1970. */
export interface Clock {
  nowMs(): number;
  wallMs(): number;
  /** Calls `run` once, `delayMs` from now at the earliest. */
  schedule(delayMs: number, run: () => void): Timer;
  cancel(timer: Timer): void;
  /** Calls `run` in a later turn of the event loop, after input that is ready now has been taken in. */
  defer(run: () => void): void;
}

type ManualTimer = {
  cancelled: boolean;
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
};

/** A clock that moves only when told: for tests and simulation. Timers run in order of time, then of scheduling. */
export class ManualClock implements Clock {
  #now: number;
  #order = 0;
  #timers: ManualTimer[] = [];
  #deferred: (() => void)[] = [];
  readonly #epochMs: number;

  constructor(startMs = 0, epochMs = 1_700_000_000_000) {
    this.#now = startMs;
    this.#epochMs = epochMs;
  }

  nowMs(): number {
    return this.#now;
  }

  wallMs(): number {
    return this.#epochMs + this.#now;
  }

  schedule(delayMs: number, run: () => void): Timer {
    const timer: ManualTimer = {
      cancelled: false,
      at: this.#now + Math.max(0, delayMs),
      order: this.#order++,
      run,
    };
    this.#timers.push(timer);
    return timer;
  }

  cancel(timer: Timer): void {
    (timer as ManualTimer).cancelled = true;
    this.#timers = this.#timers.filter((t) => t !== timer);
  }

  defer(run: () => void): void {
    this.#deferred.push(run);
  }

  /** Runs what was deferred, and what that defers, until nothing is. Returns how many ran. */
  runDeferred(): number {
    let ran = 0;
    for (let next = this.#deferred.shift(); next; next = this.#deferred.shift()) {
      next();
      ran++;
    }
    return ran;
  }

  /** Milliseconds until the next timer, or `undefined` when there is none. */
  untilNext(): number | undefined {
    const at = this.#timers.reduce((min, t) => Math.min(min, t.at), Number.POSITIVE_INFINITY);
    return at === Number.POSITIVE_INFINITY ? undefined : Math.max(0, at - this.#now);
  }

  /** Moves time forward, running every timer that falls due at its own time, and all deferred work. */
  advance(byMs: number): void {
    const end = this.#now + byMs;
    this.runDeferred();
    for (;;) {
      const due = this.#timers
        .filter((t) => t.at <= end)
        .reduce<ManualTimer | undefined>(
          (min, t) => (!min || t.at < min.at || (t.at === min.at && t.order < min.order) ? t : min),
          undefined,
        );
      if (!due) break;
      this.#timers = this.#timers.filter((t) => t !== due);
      this.#now = Math.max(this.#now, due.at);
      due.run();
      this.runDeferred();
    }
    this.#now = end;
  }
}
