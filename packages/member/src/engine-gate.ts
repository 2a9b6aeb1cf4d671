import type { Engine } from '@muster/kv';

/**
 * Watches how far the engine is behind in making durable what was applied. Half full it is asked whether it still can:
 * if not, writes are refused from then on, while there is room to apply what is committed and reads go on. Full, applying
 * pauses.
 */
export class EngineGate {
  readonly #engine: Engine;
  readonly #maxBytes: number;
  readonly #onFailure: (error: Error) => void;
  readonly #wake: () => void;
  #asking = false;
  #failure: Error | undefined;

  constructor(options: {
    readonly engine: Engine;
    /** Sealed bytes that wait to become durable at which applying pauses. */
    readonly maxBytes: number;
    /** Told once, until it works again. */
    readonly onFailure: (error: Error) => void;
    /** There may be room again. */
    readonly wake: () => void;
  }) {
    this.#engine = options.engine;
    this.#maxBytes = options.maxBytes;
    this.#onFailure = options.onFailure;
    this.#wake = options.wake;
  }

  /** Why the engine cannot write (a full disk), once that matters. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Whether another batch may be applied. Called each turn, and at least once a tick. */
  open(): boolean {
    const bytes = this.#engine.pendingBytes;
    if (bytes > this.#maxBytes / 2 || this.#failure) this.#ask();
    return bytes <= this.#maxBytes;
  }

  #ask(): void {
    if (this.#asking) return;
    this.#asking = true;
    this.#engine.flush((error) => {
      this.#asking = false;
      if (error && !this.#failure) this.#onFailure(error);
      this.#failure = error;
      // After a failure the next tick asks again.
      if (!error) this.#wake();
    });
  }
}
