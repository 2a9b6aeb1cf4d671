import { assert } from '@muster/base';
import type { Bounds, Engine, EngineView, Entry, Table } from './engine.ts';
import { TABLES } from './engine.ts';
import { SortedTable } from './sorted-table.ts';

export type MemoryEngineOptions = {
  /**
   * When a sealed unit becomes durable: `onCommit` (the default) at once, `onFlush` when `flush` asks for it, so that
   * `crashCopy` can lose sealed units as a real disk may.
   */
  readonly durable?: 'onCommit' | 'onFlush';
  /** How `flush` comes back later; the default is a microtask. Simulations pass their clock's `defer`. */
  readonly defer?: (run: () => void) => void;
};

type Undo = { readonly table: Table; readonly key: Uint8Array; readonly before: Uint8Array | undefined };
type Unit = { readonly tag: number; readonly undo: readonly Undo[]; readonly bytes: number };

/** The reference Engine, all in memory: for tests, model runs and simulation. It keeps how to undo what is not durable. */
export class MemoryEngine implements Engine {
  readonly #options: MemoryEngineOptions;
  #tables = new Map<Table, SortedTable>(TABLES.map((table) => [table, new SortedTable()]));
  #open: Undo[] = [];
  #openBytes = 0;
  #sealed: Unit[] = [];
  #sealedBytes = 0;
  #flushedTag = 0;

  constructor(options: MemoryEngineOptions = {}) {
    this.#options = options;
  }

  get flushedTag(): number {
    return this.#flushedTag;
  }

  get pendingBytes(): number {
    return this.#sealedBytes;
  }

  get(table: Table, key: Uint8Array): Uint8Array | undefined {
    return this.#table(table).get(key);
  }

  iterate(table: Table, bounds: Bounds = {}): Iterable<Entry> {
    return this.#table(table).iterate(bounds);
  }

  put(table: Table, key: Uint8Array, value: Uint8Array): void {
    this.#open.push({ table, key, before: this.#table(table).set(key, value) });
    this.#openBytes += key.length + value.length;
  }

  delete(table: Table, key: Uint8Array): void {
    const before = this.#table(table).delete(key);
    if (before === undefined) return;
    this.#open.push({ table, key, before });
    this.#openBytes += key.length;
  }

  commit(tag: number): void {
    assert(tag >= this.lastTag, () => `commit of tag ${tag} after ${this.lastTag}`);
    this.#sealed.push({ tag, undo: this.#open, bytes: this.#openBytes });
    this.#sealedBytes += this.#openBytes;
    this.#open = [];
    this.#openBytes = 0;
    if (this.#options.durable !== 'onFlush') this.#makeDurable();
  }

  flush(done: (error?: Error) => void): void {
    this.#makeDurable();
    (this.#options.defer ?? queueMicrotask)(() => done());
  }

  /** A copy. */
  view(done: (error: Error | undefined, view: EngineView | undefined) => void): void {
    this.flush(() => {
      const copy = this.crashCopy();
      done(undefined, {
        tag: copy.flushedTag,
        get: (table, key) => copy.get(table, key),
        iterate: (table, bounds) => copy.iterate(table, bounds),
        close: () => {},
      });
    });
  }

  size(): { readonly total: number; readonly inUse: number } {
    let bytes = 0;
    for (const table of this.#tables.values()) bytes += table.bytes;
    return { total: bytes, inUse: bytes };
  }

  /** The tag of the newest sealed unit, durable or not; 0 when none. */
  get lastTag(): number {
    return this.#sealed.at(-1)?.tag ?? this.#flushedTag;
  }

  /**
   * What a process would find after a crash now: the open unit is gone and, of the sealed units that are not durable
   * yet, the newest `loseSealed` are (0 by default).
   */
  crashCopy(loseSealed = 0): MemoryEngine {
    const copy = new MemoryEngine(this.#options);
    copy.#tables = new Map([...this.#tables].map(([name, table]) => [name, table.copy()]));
    const kept = Math.max(0, this.#sealed.length - loseSealed);
    copy.#revert(this.#open);
    for (const unit of this.#sealed.slice(kept).reverse()) copy.#revert(unit.undo);
    copy.#flushedTag = this.#sealed[kept - 1]?.tag ?? this.#flushedTag;
    return copy;
  }

  /** Replaces the whole state, durably, as the installation of a snapshot does. `source` is not changed. */
  replaceBy(source: MemoryEngine): void {
    const copy = source.crashCopy();
    this.#tables = copy.#tables;
    this.#flushedTag = copy.#flushedTag;
    this.#open = [];
    this.#sealed = [];
    this.#openBytes = 0;
    this.#sealedBytes = 0;
  }

  #makeDurable(): void {
    this.#flushedTag = this.lastTag;
    this.#sealed = [];
    this.#sealedBytes = 0;
  }

  #revert(undo: readonly Undo[]): void {
    for (const { table, key, before } of [...undo].reverse()) {
      if (before === undefined) this.#table(table).delete(key);
      else this.#table(table).set(key, before);
    }
  }

  #table(name: Table): SortedTable {
    return this.#tables.get(name) as SortedTable;
  }
}
