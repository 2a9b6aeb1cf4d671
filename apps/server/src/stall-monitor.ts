import type { Clock, Timer } from '@muster/base';

const PERIOD_MS = 50;

/** Notices when the event loop stood still: a long computation, a stopped process, a machine out of memory. */
export class StallMonitor {
  readonly #clock: Clock;
  readonly #warnMs: number;
  readonly #onStall: (stalledMs: number) => void;
  #timer: Timer | undefined;
  /** Stalls since the start, and the longest one in milliseconds. */
  count = 0;
  longestMs = 0;

  constructor(clock: Clock, warnMs: number, onStall: (stalledMs: number) => void) {
    this.#clock = clock;
    this.#warnMs = warnMs;
    this.#onStall = onStall;
    this.#next();
  }

  stop(): void {
    if (this.#timer) this.#clock.cancel(this.#timer);
    this.#timer = undefined;
  }

  #next(): void {
    const dueMs = this.#clock.nowMs() + PERIOD_MS;
    this.#timer = this.#clock.schedule(PERIOD_MS, () => {
      const stalledMs = this.#clock.nowMs() - dueMs;
      if (stalledMs >= this.#warnMs) {
        this.count++;
        this.longestMs = Math.max(this.longestMs, stalledMs);
        this.#onStall(stalledMs);
      }
      this.#next();
    });
  }
}
