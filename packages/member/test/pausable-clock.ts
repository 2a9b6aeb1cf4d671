import type { Clock, Timer } from '@muster/base';

type Pausable = { cancelled: boolean; inner: Timer | undefined };

/** A process's view of a clock. Paused, as by SIGSTOP, nothing of it runs; time goes on and shows afterwards. */
export class PausableClock implements Clock {
  readonly #inner: Clock;
  #paused = false;
  #dead = false;
  #backlog: (() => void)[] = [];

  constructor(inner: Clock) {
    this.#inner = inner;
  }

  pause(): void {
    this.#paused = true;
  }

  /** The process is dead: nothing of it ever runs again. */
  kill(): void {
    this.#paused = true;
    this.#dead = true;
    this.#backlog = [];
  }

  resume(): void {
    if (this.#dead) return;
    this.#paused = false;
    const backlog = this.#backlog;
    this.#backlog = [];
    for (const run of backlog) this.#inner.defer(() => this.run(run));
  }

  /** Now, or when the process goes on. */
  run(run: () => void): void {
    if (!this.#paused) run();
    else if (!this.#dead) this.#backlog.push(run);
  }

  nowMs(): number {
    return this.#inner.nowMs();
  }

  wallMs(): number {
    return this.#inner.wallMs();
  }

  schedule(delayMs: number, run: () => void): Timer {
    const timer: Pausable = { cancelled: false, inner: undefined };
    timer.inner = this.#inner.schedule(delayMs, () =>
      this.run(() => {
        if (!timer.cancelled) run();
      }),
    );
    return timer;
  }

  cancel(timer: Timer): void {
    const own = timer as Pausable;
    own.cancelled = true;
    if (own.inner) this.#inner.cancel(own.inner);
  }

  defer(run: () => void): void {
    this.#inner.defer(() => this.run(run));
  }
}
