/** A set of half-open intervals of strings, kept disjoint and sorted: which keys does any of them cover? */
export class IntervalSet {
  readonly #starts: string[] = [];
  readonly #ends: string[] = [];

  get intervals(): readonly (readonly [start: string, end: string])[] {
    return this.#starts.map((start, i) => [start, this.#ends[i] as string]);
  }

  /** An interval whose end is not above its start covers nothing. */
  add(start: string, end: string): void {
    if (start >= end) return;
    // Everything that touches the new interval becomes one with it.
    const from = firstAtLeast(this.#ends, start);
    let to = from;
    let [low, high] = [start, end];
    for (; to < this.#starts.length && (this.#starts[to] as string) <= end; to++) {
      if ((this.#starts[to] as string) < low) low = this.#starts[to] as string;
      if ((this.#ends[to] as string) > high) high = this.#ends[to] as string;
    }
    this.#starts.splice(from, to - from, low);
    this.#ends.splice(from, to - from, high);
  }

  addAll(other: IntervalSet): void {
    for (const [start, end] of other.intervals) this.add(start, end);
  }

  /** Whether every key of a non-empty interval is covered. */
  covers(start: string, end: string): boolean {
    const from = this.#starts[firstAtLeast(this.#ends, end)];
    return from !== undefined && from <= start;
  }

  has(key: string): boolean {
    const at = firstAtLeast(this.#ends, `${key}\0`);
    const start = this.#starts[at];
    return start !== undefined && start <= key;
  }
}

/** The index of the first item that is not below `value`. */
function firstAtLeast(sorted: readonly string[], value: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as string) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
