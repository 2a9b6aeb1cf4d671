import { assert } from '@muster/base';
import type { LogReader } from './log-reader.ts';
import { type Entry, entryBytes, type SnapshotMeta } from './messages.ts';
import { Unstable } from './unstable.ts';

const SCAN_BYTES = 1 << 20;

/**
 * The whole log as the protocol sees it: the durable part behind `LogReader`, then the unstable tail. Watermarks:
 * applied <= applying <= committed <= lastIndex, and applying <= stableIndex.
 */
export class RaftLog {
  readonly #reader: LogReader;
  readonly #unstable: Unstable;
  readonly #maxApplyingBytes: number;
  #committed: number;
  #applying: number;
  #applied: number;
  #applyingBytes = 0;
  #batches: { readonly last: number; readonly bytes: number }[] = [];

  constructor(reader: LogReader, options: { commit: number; applied: number; maxApplyingBytes: number }) {
    this.#reader = reader;
    this.#unstable = new Unstable(reader.lastIndex + 1);
    this.#maxApplyingBytes = options.maxApplyingBytes;
    this.#committed = Math.max(options.commit, options.applied);
    this.#applying = options.applied;
    this.#applied = options.applied;
  }

  get committed(): number {
    return this.#committed;
  }

  /** Last index handed out to be applied. */
  get applying(): number {
    return this.#applying;
  }

  /** Last index reported applied. */
  get applied(): number {
    return this.#applied;
  }

  get lastIndex(): number {
    return this.#unstable.lastIndex;
  }

  get lastTerm(): number {
    return this.mustTerm(this.lastIndex);
  }

  /** The oldest entry that can be read. */
  get firstIndex(): number {
    return (this.#unstable.snapshot?.index ?? this.#reader.compactedIndex) + 1;
  }

  /** Everything up to here is durable on this node; 0 while a snapshot is being installed. */
  get stableIndex(): number {
    return this.#unstable.snapshot ? 0 : this.#unstable.offset - 1;
  }

  get pendingSnapshot(): SnapshotMeta | undefined {
    return this.#unstable.snapshot;
  }

  /** `undefined` when the entry is compacted or not there. */
  term(index: number): number | undefined {
    if (index >= this.#unstable.offset) return this.#unstable.term(index);
    const snapshot = this.#unstable.snapshot;
    if (snapshot === undefined) return this.#reader.term(index);
    return snapshot.index === index ? snapshot.term : undefined;
  }

  mustTerm(index: number): number {
    const term = this.term(index);
    assert(term !== undefined, () => `no term at ${index} of log [${this.firstIndex}, ${this.lastIndex}]`);
    return term;
  }

  matches(index: number, term: number): boolean {
    return this.term(index) === term;
  }

  /** Raft section 5.4.1: a log is newer by its last term, then by its length. */
  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    const own = this.lastTerm;
    return lastTerm > own || (lastTerm === own && lastIndex >= this.lastIndex);
  }

  /** Entries from `low` on, at least one, up to `maxBytes`; it may stop where the unstable tail begins. */
  entries(low: number, maxBytes: number, high = this.lastIndex + 1): readonly Entry[] {
    const { offset } = this.#unstable;
    if (low >= offset) return this.#unstable.entries(low, high, maxBytes);
    return this.#reader.entries(low, Math.min(high, offset), maxBytes);
  }

  /** The leader's own next entry. */
  push(term: number, type: Entry['type'], data: Uint8Array): void {
    this.#unstable.push({ term, index: this.#unstable.lastIndex + 1, type, data });
  }

  /**
   * Takes entries that follow an index at which the logs match. Those it has already are left alone (Raft section
   * 5.3: only a conflict truncates), for a late message may hold fewer than came since.
   */
  accept(entries: readonly Entry[]): void {
    let skip = 0;
    while (skip < entries.length) {
      const entry = entries[skip] as Entry;
      if (!this.matches(entry.index, entry.term)) break;
      skip++;
    }
    if (skip === entries.length) return;
    const { index } = entries[skip] as Entry;
    assert(
      index > this.#committed,
      () => `entry ${index} conflicts below the commit index ${this.#committed}`,
    );
    this.#unstable.replace(entries, skip);
  }

  commitTo(index: number): void {
    if (index <= this.#committed) return;
    assert(
      index <= this.lastIndex,
      () =>
        `commit ${index} is beyond the last index ${this.lastIndex}: has this node's log been lost or cut?`,
    );
    this.#committed = index;
  }

  /** The greatest index up to `index` whose term is at most `term`. Terms never fall along a log: binary search. */
  lastIndexWithTermUpTo(index: number, term: number): number {
    let low = this.firstIndex - 1;
    let high = Math.min(index, this.lastIndex);
    if (high < low) return index;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.mustTerm(middle) <= term) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Whether a membership change is committed but not reported applied. */
  get hasUnappliedConfig(): boolean {
    for (let at = Math.max(this.#applied + 1, this.firstIndex); at <= this.#committed; ) {
      const page = this.entries(at, SCAN_BYTES, this.#committed + 1);
      for (const entry of page) if (entry.type === 'config') return true;
      at += page.length;
    }
    return false;
  }

  restore(snapshot: SnapshotMeta): void {
    assert(
      snapshot.index > this.#committed,
      () => `snapshot ${snapshot.index} below commit ${this.#committed}`,
    );
    this.#unstable.restore(snapshot);
    this.#committed = snapshot.index;
  }

  get hasUnhanded(): boolean {
    return this.#unstable.hasUnhanded;
  }

  handOut(number: number): {
    readonly entries: readonly Entry[];
    readonly snapshot: SnapshotMeta | undefined;
  } {
    return this.#unstable.handOut(number);
  }

  /** Returns the snapshot that is installed by now, if any is. */
  persisted(number: number): SnapshotMeta | undefined {
    const installed = this.#unstable.persisted(number);
    if (!installed) return undefined;
    this.#batches = [];
    this.#applyingBytes = 0;
    this.#applying = installed.index;
    this.#applied = installed.index;
    return installed;
  }

  get hasCommittedToHandOut(): boolean {
    return (
      this.#applying < Math.min(this.#committed, this.stableIndex) &&
      this.#applyingBytes < this.#maxApplyingBytes
    );
  }

  /** The next committed and durable entries, bounded together with those that are still being applied. */
  handOutCommitted(): { readonly entries: readonly Entry[]; readonly bytes: number } {
    if (!this.hasCommittedToHandOut) return { entries: [], bytes: 0 };
    const high = Math.min(this.#committed, this.stableIndex) + 1;
    const entries = this.#reader.entries(
      this.#applying + 1,
      high,
      this.#maxApplyingBytes - this.#applyingBytes,
    );
    let bytes = 0;
    for (const entry of entries) bytes += entryBytes(entry);
    this.#applying += entries.length;
    this.#applyingBytes += bytes;
    this.#batches.push({ last: this.#applying, bytes });
    return { entries, bytes };
  }

  appliedTo(index: number): void {
    if (index <= this.#applied) return;
    assert(index <= this.#applying, () => `applied ${index}, handed out only ${this.#applying}`);
    this.#applied = index;
    while (this.#batches.length > 0 && (this.#batches[0] as { last: number }).last <= index) {
      this.#applyingBytes -= (this.#batches.shift() as { bytes: number }).bytes;
    }
  }
}
