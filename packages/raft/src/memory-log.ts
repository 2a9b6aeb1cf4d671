import { assert } from '@muster/base';
import type { LogReader } from './log-reader.ts';
import { type Entry, entryBytes } from './messages.ts';

/** Freed slots in front of the array are given back once there are this many, and more than live ones. */
const TRIM_AT = 1024;

/**
 * A log held in memory: the reference `LogReader`, and the readable tail over a write-ahead log. Appending and
 * compacting cost O(1) an entry, reading O(1) an index.
 */
export class MemoryLog implements LogReader {
  /** The entry of index i stands at `#head + i - #compactedIndex - 1`. */
  #slots: (Entry | undefined)[] = [];
  #head = 0;
  #compactedIndex: number;
  #compactedTerm: number;
  #byteSize = 0;

  /** Empty, standing just after (compactedIndex, compactedTerm). */
  constructor(compactedIndex = 0, compactedTerm = 0) {
    this.#compactedIndex = compactedIndex;
    this.#compactedTerm = compactedTerm;
  }

  get compactedIndex(): number {
    return this.#compactedIndex;
  }

  get lastIndex(): number {
    return this.#compactedIndex + this.#slots.length - this.#head;
  }

  /** Sum of `entryBytes` of all entries held. */
  get byteSize(): number {
    return this.#byteSize;
  }

  term(index: number): number | undefined {
    if (index === this.#compactedIndex) return this.#compactedTerm;
    if (index < this.#compactedIndex) return undefined;
    return this.#slots[this.#head + index - this.#compactedIndex - 1]?.term;
  }

  entries(low: number, high: number, maxBytes: number): readonly Entry[] {
    assert(
      low > this.#compactedIndex && low < high && high <= this.lastIndex + 1,
      () => `entries [${low}, ${high}) asked of a log (${this.#compactedIndex}, ${this.lastIndex}]`,
    );
    const from = this.#head + low - this.#compactedIndex - 1;
    const end = from + high - low;
    let to = from + 1;
    let bytes = entryBytes(this.#slots[from] as Entry);
    while (to < end) {
      bytes += entryBytes(this.#slots[to] as Entry);
      if (bytes > maxBytes) break;
      to++;
    }
    return this.#slots.slice(from, to) as Entry[];
  }

  /** Adds contiguous entries. What the log has from the first one's index on is replaced. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(
      first.index > this.#compactedIndex && first.index <= this.lastIndex + 1,
      () => `append at ${first.index} to a log (${this.#compactedIndex}, ${this.lastIndex}]`,
    );
    this.#truncateFrom(first.index);
    let index = first.index;
    for (const entry of entries) {
      assert(entry.index === index, () => `entry ${entry.index} where ${index} was due`);
      this.#slots.push(entry);
      this.#byteSize += entryBytes(entry);
      index++;
    }
  }

  /** Lets go of entries up to and including `index`; at or below the compacted index it does nothing. */
  compactTo(index: number): void {
    if (index <= this.#compactedIndex) return;
    const term = this.term(index);
    assert(term !== undefined, () => `compact to ${index} of a log that ends at ${this.lastIndex}`);
    while (this.#compactedIndex < index) {
      this.#byteSize -= entryBytes(this.#slots[this.#head] as Entry);
      this.#slots[this.#head++] = undefined;
      this.#compactedIndex++;
    }
    this.#compactedTerm = term;
    if (this.#head >= TRIM_AT && this.#head * 2 > this.#slots.length) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Starts over, empty, just after (index, term): a snapshot was installed. */
  reset(index: number, term: number): void {
    this.#slots = [];
    this.#head = 0;
    this.#byteSize = 0;
    this.#compactedIndex = index;
    this.#compactedTerm = term;
  }

  #truncateFrom(index: number): void {
    for (let last = this.lastIndex; last >= index; last--) {
      this.#byteSize -= entryBytes(this.#slots.pop() as Entry);
    }
  }
}
