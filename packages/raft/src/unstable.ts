import { assert } from '@muster/base';
import { type Entry, entryBytes, type SnapshotMeta } from './messages.ts';

const TRIM_AT = 1024;

/** A Ready whose durability is awaited, as far as the log goes. */
type HandedOut = { readonly number: number; last: number; readonly snapshotIndex: number };

/**
 * The tail of the log that is not known durable: entries from `offset` on, and perhaps a snapshot just below it.
 * It remembers what each Ready handed out. A truncation cuts those memories short, so that a late acknowledgement
 * of replaced entries never vouches for their replacements, not even for equal ones that a later write puts back.
 */
export class Unstable {
  #entries: Entry[] = [];
  #head = 0;
  #offset: number;
  #handedTo: number;
  #handedOut: HandedOut[] = [];
  #snapshot: SnapshotMeta | undefined;
  #snapshotHanded = false;

  /** @param offset index after the last durable entry */
  constructor(offset: number) {
    this.#offset = offset;
    this.#handedTo = offset - 1;
  }

  get offset(): number {
    return this.#offset;
  }

  get lastIndex(): number {
    return this.#offset + this.#entries.length - this.#head - 1;
  }

  /** A snapshot that is not installed yet. */
  get snapshot(): SnapshotMeta | undefined {
    return this.#snapshot;
  }

  get hasUnhanded(): boolean {
    return this.#handedTo < this.lastIndex || (this.#snapshot !== undefined && !this.#snapshotHanded);
  }

  /** For `index` from `offset` to `lastIndex`. */
  term(index: number): number | undefined {
    return this.#entries[this.#head + index - this.#offset]?.term;
  }

  /** Entries from `low` on, at least one, up to `maxBytes` and below `high`. */
  entries(low: number, high: number, maxBytes: number): readonly Entry[] {
    const from = this.#head + low - this.#offset;
    const end = Math.min(this.#entries.length, this.#head + high - this.#offset);
    assert(
      from >= this.#head && from < end,
      () => `unstable entries [${low}, ${high}) of ${this.#describe()}`,
    );
    let bytes = entryBytes(this.#entries[from] as Entry);
    let to = from + 1;
    while (to < end) {
      bytes += entryBytes(this.#entries[to] as Entry);
      if (bytes > maxBytes) break;
      to++;
    }
    return this.#entries.slice(from, to);
  }

  /** Adds one entry at `lastIndex + 1`. */
  push(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, () => `push of ${entry.index} after ${this.lastIndex}`);
    this.#entries.push(entry);
  }

  /** Puts `entries[from...]` in place of everything at their first one's index and after. */
  replace(entries: readonly Entry[], from: number): void {
    const first = (entries[from] as Entry).index;
    assert(first <= this.lastIndex + 1, () => `append at ${first} leaves a gap after ${this.lastIndex}`);
    if (first < this.#offset) {
      this.#entries = [];
      this.#head = 0;
      this.#offset = first;
    } else {
      this.#entries.length = this.#head + first - this.#offset;
    }
    this.#forgetFrom(first);
    for (let i = from; i < entries.length; i++) this.#entries.push(entries[i] as Entry);
  }

  /** Starts over after a snapshot, which is to be installed by the next Ready. */
  restore(snapshot: SnapshotMeta): void {
    this.#entries = [];
    this.#head = 0;
    this.#offset = snapshot.index + 1;
    this.#snapshot = snapshot;
    this.#snapshotHanded = false;
    this.#forgetFrom(0);
    this.#handedTo = snapshot.index;
  }

  /** What Ready `number` has to make durable. */
  handOut(number: number): {
    readonly entries: readonly Entry[];
    readonly snapshot: SnapshotMeta | undefined;
  } {
    const first = this.#handedTo + 1;
    const last = this.lastIndex;
    const entries = first > last ? [] : this.#entries.slice(this.#head + first - this.#offset);
    const snapshot = this.#snapshotHanded ? undefined : this.#snapshot;
    if (entries.length > 0 || snapshot) {
      this.#handedOut.push({ number, last, snapshotIndex: snapshot?.index ?? 0 });
      this.#handedTo = last;
      this.#snapshotHanded = this.#snapshot !== undefined;
    }
    return { entries, snapshot };
  }

  /** Ready `number` and those before it are durable. Returns the snapshot that is installed by now, if any is. */
  persisted(number: number): SnapshotMeta | undefined {
    let installed: SnapshotMeta | undefined;
    while (this.#handedOut.length > 0 && (this.#handedOut[0] as HandedOut).number <= number) {
      const record = this.#handedOut.shift() as HandedOut;
      if (this.#snapshot !== undefined && record.snapshotIndex === this.#snapshot.index) {
        installed = this.#snapshot;
        this.#snapshot = undefined;
      }
      this.#stableTo(record.last);
    }
    return installed;
  }

  #stableTo(index: number): void {
    if (index < this.#offset) return;
    assert(index <= this.lastIndex, () => `durable to ${index}, beyond ${this.#describe()}`);
    this.#head += index + 1 - this.#offset;
    this.#offset = index + 1;
    if (this.#head === this.#entries.length) {
      this.#entries = [];
      this.#head = 0;
    } else if (this.#head >= TRIM_AT && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  #forgetFrom(index: number): void {
    this.#handedTo = Math.min(this.#handedTo, index - 1);
    for (const record of this.#handedOut) record.last = Math.min(record.last, index - 1);
  }

  #describe(): string {
    return `tail [${this.#offset}, ${this.lastIndex}]`;
  }
}
