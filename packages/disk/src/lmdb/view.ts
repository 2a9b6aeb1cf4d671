import type { Bounds, EngineView, Entry, Table } from '@muster/kv';
import { getLong, isLong, iterateWithLong, type StoreReader } from './long-keys.ts';
import { type Environment, type StoreDatabase, tableNumber } from './schema.ts';
import { storedRange } from './store.ts';

/** What `useReadTransaction` gives: a read of LMDB that stays as it is until `done`. */
export type ReadTransaction = { readonly done: () => void };

/** Everything as of one commit to LMDB. Storage that is freed meanwhile is not used again while it is open. */
export class LmdbView implements EngineView {
  readonly tag: number;
  readonly environment: Environment;
  readonly #transaction: ReadTransaction;
  readonly #onClose: () => void;
  readonly #reader: StoreReader;
  #closed = false;

  constructor(options: {
    readonly environment: Environment;
    readonly transaction: ReadTransaction;
    readonly tag: number;
    readonly onClose: () => void;
  }) {
    this.environment = options.environment;
    this.tag = options.tag;
    this.#transaction = options.transaction;
    this.#onClose = options.onClose;
    this.#reader = {
      get: (table, key) => this.#database(table).get(key, this.#at()),
      iterate: (table, bounds = {}) => this.#iterate(table, bounds),
    };
  }

  get(table: Table, key: Uint8Array): Uint8Array | undefined {
    const number = tableNumber(table);
    return isLong(key) ? getLong(this.#reader, number, key) : this.#reader.get(number, key);
  }

  iterate(table: Table, bounds: Bounds = {}): Iterable<Entry> {
    return iterateWithLong(this.#reader, tableNumber(table), bounds);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#transaction.done();
    this.#onClose();
  }

  *#iterate(table: number, bounds: Bounds): Generator<Entry> {
    const range = this.#database(table).getRange({
      ...storedRange(bounds),
      transaction: this.#transaction,
    } as never);
    const iterator = range[Symbol.iterator]();
    try {
      for (;;) {
        // Behind the close there is no memory to read from.
        this.#checkOpen();
        const step = iterator.next();
        if (step.done) return;
        yield [step.value.key as Uint8Array, step.value.value];
      }
    } finally {
      if (!this.#closed) iterator.return?.();
    }
  }

  #database(table: number): StoreDatabase {
    this.#checkOpen();
    return this.environment.tables[table] as StoreDatabase;
  }

  #at(): never {
    return { transaction: this.#transaction } as never;
  }

  #checkOpen(): void {
    if (this.#closed) throw new Error('the storage was closed while it was being read');
  }
}
