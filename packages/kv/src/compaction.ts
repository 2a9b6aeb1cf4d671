import type { MvccStore } from './mvcc-store.ts';
import { decodeChange, decodeHead, isDeletion } from './records.ts';
import { revisionKey, revisionMain, revisionSub } from './revision.ts';
import type { CompactionState } from './state-records.ts';

/**
 * Removes what a compaction made unreachable, a slice at a time, so that nothing waits for it.
 *
 * Compacting from F to C looks only at the records with main revision in [F, C]: the record before each of them in
 * its key's chain is superseded by C and goes, unless C is its own revision too; a deletion below C goes itself, and the key's entry with it when it is
 * the newest of its key. A deletion exactly at C stays, so that a watch from C sees it, until the next compaction.
 * The cost is that of the changes since the last one, whatever the size of the data.
 */
export class Compactor {
  readonly #store: MvccStore;
  readonly #batch: number;
  /** Complete up to here; records of this very revision are looked at again for deletions that stayed. */
  finishedRevision: number;
  state: CompactionState | undefined;

  constructor(
    store: MvccStore,
    batch: number,
    from: { readonly finishedRevision: number; readonly compaction: CompactionState | undefined },
  ) {
    this.#store = store;
    this.#batch = batch;
    this.finishedRevision = from.finishedRevision;
    this.state = from.compaction;
  }

  get pending(): boolean {
    return this.state !== undefined;
  }

  /** Begins, or extends the one under way: what that has done up to its cursor is right for a later target too. */
  schedule(target: number): void {
    const before = this.state;
    const start = { main: Math.max(0, this.finishedRevision), sub: 0 };
    if (before === undefined) this.state = { target, cursor: start };
    else if (before.cursor.main < before.target) this.state = { target, cursor: before.cursor };
    else this.state = { target, cursor: { main: before.target, sub: 0 } };
  }

  /** One slice: at most `batch` records are looked at. True when nothing is left to do. */
  step(): boolean {
    const { state } = this;
    if (state === undefined) return true;
    const records = this.#nextRecords(state);
    for (const [key, record] of records)
      this.#remove(revisionMain(key), revisionSub(key), record, state.target);
    const last = records.at(-1)?.[0];
    if (last === undefined || records.length < this.#batch) {
      this.finishedRevision = state.target;
      this.state = undefined;
      return true;
    }
    const cursor = { main: revisionMain(last), sub: revisionSub(last) + 1 };
    this.state = { target: state.target, cursor };
    return false;
  }

  #nextRecords({ cursor, target }: CompactionState): (readonly [Uint8Array, Uint8Array])[] {
    const bounds = { from: revisionKey(cursor.main, cursor.sub), to: revisionKey(target + 1, 0) };
    const out: (readonly [Uint8Array, Uint8Array])[] = [];
    for (const entry of this.#store.engine.iterate('revisions', bounds)) {
      out.push(entry);
      if (out.length === this.#batch) break;
    }
    return out;
  }

  #remove(main: number, sub: number, record: Uint8Array, target: number): void {
    const { engine } = this.#store;
    const { prev, kv } = decodeChange(main, record);
    // What revision C itself superseded stays with it: a watch from C sees the revision whole.
    if (prev !== undefined && prev.main < target) {
      engine.delete('revisions', revisionKey(prev.main, prev.sub));
      this.#store.counters.compactedRecords++;
    }
    if (!isDeletion(record) || main >= target) return;
    engine.delete('revisions', revisionKey(main, sub));
    this.#store.counters.compactedRecords++;
    const newest = engine.get('keys', kv.key);
    if (newest === undefined) return;
    const head = decodeHead(newest);
    if (head.main === main && head.sub === sub) engine.delete('keys', kv.key);
  }
}
