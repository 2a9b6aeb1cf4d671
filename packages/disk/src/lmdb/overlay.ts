/** Writes that LMDB does not have yet, in layers: the newest takes writes, the others wait to be committed. */
import BTreeModule from 'sorted-btree';
import { TABLE_COUNT } from './schema.ts';

// The package is CommonJS with a default export.
const BTree = BTreeModule.default;

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** null stands for a deletion. */
export type Change = Uint8Array | null;
type Tree = InstanceType<typeof BTree<string, undefined>>;

/** The changes to one table, by binary key. Sorted only as far as someone iterates. */
export class TableLayer {
  readonly changes = new Map<string, Change>();
  #unsorted: string[] = [];
  #sorted: Tree | undefined;

  set(key: string, change: Change): void {
    const before = this.changes.size;
    this.changes.set(key, change);
    if (this.changes.size !== before) this.#unsorted.push(key);
  }

  /** Puts back what was there before a `set`; `undefined` is nothing. */
  restore(key: string, before: Change | undefined): void {
    if (before === undefined) this.changes.delete(key);
    else this.changes.set(key, before);
  }

  /**
   * Keys in [from, to) in order, or from the highest down. Which ones there are is settled step by step: the caller
   * must not write meanwhile.
   */
  *keys(from: string, to: string | undefined, reverse: boolean): Generator<string, undefined> {
    const tree = this.#tree();
    if (reverse) {
      for (const [key] of tree.entriesReversed(to, undefined, true)) {
        if (key < from) return;
        if (this.changes.has(key)) yield key;
      }
      return;
    }
    for (const key of tree.keys(from)) {
      if (to !== undefined && key >= to) return;
      if (this.changes.has(key)) yield key;
    }
  }

  #tree(): Tree {
    this.#sorted ??= new BTree<string, undefined>(undefined, order);
    for (const key of this.#unsorted) this.#sorted.set(key, undefined);
    this.#unsorted = [];
    return this.#sorted;
  }
}

type OpenChange = {
  readonly number: number;
  readonly key: string;
  readonly before: Change | undefined;
  readonly bytes: number;
};

/** All that one LMDB transaction will hold: whole units, and perhaps the open one until it is sealed or split off. */
export class Layer {
  readonly #tables: (TableLayer | undefined)[] = new Array(TABLE_COUNT).fill(undefined);
  #open: OpenChange[] = [];
  /** Keys and values of its changes, those overwritten since included. */
  bytes = 0;
  changes = 0;
  /** Of the newest unit sealed in it; `undefined` when none is. */
  tag: number | undefined;
  /** Number of that unit. */
  lastUnit = 0;

  table(number: number): TableLayer | undefined {
    return this.#tables[number];
  }

  get hasOpen(): boolean {
    return this.#open.length > 0;
  }

  set(number: number, key: string, change: Change): void {
    let table = this.#tables[number];
    if (!table) {
      table = new TableLayer();
      this.#tables[number] = table;
    }
    const bytes = key.length + (change === null ? 0 : change.length);
    this.#open.push({ number, key, before: table.changes.get(key), bytes });
    table.set(key, change);
    this.bytes += bytes;
    this.changes++;
  }

  /** Ends the open unit. */
  seal(tag: number, unit: number): void {
    this.tag = tag;
    this.lastUnit = unit;
    this.#open = [];
  }

  /** Takes the open unit out, as a layer of its own. */
  splitOpen(): Layer {
    const open = new Layer();
    for (const { number, key } of this.#open) {
      open.set(number, key, this.#tables[number]?.changes.get(key) as Change);
    }
    for (const { number, key, before, bytes } of this.#open.reverse()) {
      this.#tables[number]?.restore(key, before);
      this.bytes -= bytes;
      this.changes--;
    }
    this.#open = [];
    return open;
  }
}
