/**
 * Engine: ordered tables with one atomic batch at a time, the port under the replicated state.
 *
 * Writes are visible to reads at once. `commit` seals everything written since the last one into one atomic unit that
 * becomes durable later, in order: after a crash a prefix of the sealed units is there, whole, and never a part of
 * one. What must be found together (data and its applied index) is written before one `commit`.
 */
export const TABLES = [
  'revisions',
  'keys',
  'leases',
  'leaseKeys',
  'members',
  'alarms',
  'meta',
  'auth',
] as const;
export type Table = (typeof TABLES)[number];

export type Bounds = {
  /** Inclusive lower bound; absent is from the start. */
  readonly from?: Uint8Array;
  /** Exclusive upper bound; absent is to the end. */
  readonly to?: Uint8Array;
  /** Highest key first. */
  readonly reverse?: boolean;
};

export type Entry = readonly [key: Uint8Array, value: Uint8Array];

export interface EngineReader {
  get(table: Table, key: Uint8Array): Uint8Array | undefined;
  /**
   * In key order. The caller must finish or abandon the iteration within the same turn, and must not write to the
   * table meanwhile. The bytes are the caller's to keep and must not be changed.
   */
  iterate(table: Table, bounds?: Bounds): Iterable<Entry>;
}

/**
 * The state as of one sealed unit, whatever is written since. Its iterations may go on over many turns. It throws once
 * the engine is closed. Storage that it needs is not given back before it is closed.
 */
export interface EngineView extends EngineReader {
  /** Of the newest unit in it. */
  readonly tag: number;
  /** To be called once it is no longer needed. Idempotent. */
  close(): void;
}

export interface Engine extends EngineReader {
  put(table: Table, key: Uint8Array, value: Uint8Array): void;
  delete(table: Table, key: Uint8Array): void;
  /** Seals the open unit. `tag` (the applied index) is reported by `flushedTag` once the unit is durable. */
  commit(tag: number): void;
  /** The tag of the newest durable unit; 0 when none. */
  readonly flushedTag: number;
  /** Calls `done` once every unit sealed so far is durable, or with the error that prevents it. */
  flush(done: (error?: Error) => void): void;
  /** A view of every unit sealed so far, and perhaps of later ones; or the error that prevents it. */
  view(done: (error: Error | undefined, view: EngineView | undefined) => void): void;
  /** Bytes on disk and bytes in use, for Status and the quota. */
  size(): { readonly total: number; readonly inUse: number };
  /** Sealed bytes that wait to become durable: the apply loop slows down when this grows. */
  readonly pendingBytes: number;
}
