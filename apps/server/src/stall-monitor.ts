import type { Clock, Timer } from '@muster/base';
import { Counter, type Registry } from 'prom-client';

const PERIOD_MS = 50;

/** Notices when the event loop stood still: a long computation, a stopped process, a machine out of memory. */
export class StallMonitor {
  readonly #clock: Clock;
  readonly #warnMs: number;
  readonly #onStall: (stalledMs: number) => void;
  #timer: Timer | undefined;
  readonly #stalls = new Counter({
    name: 'muster_event_loop_stalls_total',
    help: 'Pauses of the event loop that were long enough to be logged.',
    registers: [],
  });
  readonly #stalledSeconds = new Counter({
    name: 'muster_event_loop_stalled_seconds_total',
    help: 'Time spent in such pauses.',
    registers: [],
  });

  constructor(clock: Clock, warnMs: number, onStall: (stalledMs: number) => void) {
    this.#clock = clock;
    this.#warnMs = warnMs;
    this.#onStall = onStall;
    this.#next();
  }

  register(registry: Registry): void {
    registry.registerMetric(this.#stalls);
    registry.registerMetric(this.#stalledSeconds);
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
        this.#stalls.inc();
        this.#stalledSeconds.inc(stalledMs / 1000);
        this.#onStall(stalledMs);
      }
      this.#next();
    });
  }
}
