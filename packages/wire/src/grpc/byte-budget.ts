/** Bytes that all clients of a server together may make it hold. */
export class ByteBudget {
  readonly #max: number;
  #used = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get used(): number {
    return this.#used;
  }

  get spent(): boolean {
    return this.#used >= this.#max;
  }

  share(): BudgetShare {
    return new BudgetShare((bytes) => {
      this.#used += bytes;
    });
  }
}

/** What one holder of a budget holds. */
export class BudgetShare {
  readonly #move: (bytes: number) => void;
  #held = 0;

  constructor(move: (bytes: number) => void) {
    this.#move = move;
  }

  /** So much from now on, in all. */
  hold(bytes: number): void {
    if (bytes === this.#held) return;
    this.#move(bytes - this.#held);
    this.#held = bytes;
  }
}
