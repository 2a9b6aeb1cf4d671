/**
 * Keys of any length in a store whose keys are short.
 *
 * A key longer than a chunk is cut into chunks. In its own table stands only a marker: the first chunk and a zero byte,
 * which sorts behind the chunk itself and before every other key that does not begin with it; so the marker stands
 * exactly where all the keys stand that begin with this chunk. The rest is in the table `overflow`, under a hash of what
 * came before (a "room"), with markers and rooms again as far as needed. Order is kept on every level.
 */
import { createHash } from 'node:crypto';
import { concatBytes, EMPTY_BYTES } from '@muster/base';
import type { Bounds, Entry } from '@muster/kv';
import { tableNumber } from './schema.ts';
import type { Store } from './store.ts';

/** Together with room and marker within LMDB's 1978 bytes. */
export const CHUNK_BYTES = 1900;
const ROOM_BYTES = 32;
const OVERFLOW = tableNumber('overflow');
const MARKER_VALUE = EMPTY_BYTES;

/** Where keys are looked up: the store, or a view of it. */
export type StoreReader = Pick<Store, 'get' | 'iterate'>;

export function isLong(key: Uint8Array): boolean {
  return key.length > CHUNK_BYTES;
}

/** Where a long key ends up, and the markers that lead there. */
type Path = {
  readonly key: Uint8Array;
  readonly markers: readonly {
    readonly table: number;
    readonly key: Uint8Array;
    readonly room: Uint8Array;
  }[];
};

function roomOf(outer: Uint8Array, chunk: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(outer).update(chunk).digest());
}

/** Tables have rooms of their own: equal keys of two tables must not meet. */
function tableRoom(table: number): Uint8Array {
  return new Uint8Array(ROOM_BYTES).fill(table);
}

function markerOf(chunk: Uint8Array): Uint8Array {
  const marker = new Uint8Array(chunk.length + 1);
  marker.set(chunk);
  return marker;
}

function pathOf(table: number, key: Uint8Array): Path {
  const markers: Path['markers'][number][] = [];
  let room = tableRoom(table);
  let prefix: Uint8Array = EMPTY_BYTES;
  let at = 0;
  for (; key.length - at > CHUNK_BYTES; at += CHUNK_BYTES) {
    const chunk = key.subarray(at, at + CHUNK_BYTES);
    const marker = { table: at === 0 ? table : OVERFLOW, key: concatBytes(prefix, markerOf(chunk)) };
    room = roomOf(room, chunk);
    prefix = room;
    markers.push({ ...marker, room });
  }
  return { key: concatBytes(room, key.subarray(at)), markers };
}

export function getLong(store: StoreReader, table: number, key: Uint8Array): Uint8Array | undefined {
  return store.get(OVERFLOW, pathOf(table, key).key);
}

export function putLong(store: Store, table: number, key: Uint8Array, value: Uint8Array): void {
  const path = pathOf(table, key);
  store.put(OVERFLOW, path.key, value);
  for (const marker of path.markers) {
    if (store.get(marker.table, marker.key) === undefined) store.put(marker.table, marker.key, MARKER_VALUE);
  }
}

/** Deletes the key, and every marker whose room that empties. */
export function deleteLong(store: Store, table: number, key: Uint8Array): void {
  const path = pathOf(table, key);
  store.delete(OVERFLOW, path.key);
  for (const marker of [...path.markers].reverse()) {
    for (const _ of store.iterate(OVERFLOW, roomBounds(marker.room, {}))) return;
    store.delete(marker.table, marker.key);
  }
}

/** The entries of a table in order, long keys among the others. */
export function iterateWithLong(store: StoreReader, table: number, bounds: Bounds): Iterable<Entry> {
  return expand(store, store.iterate(table, outerBounds(bounds)), tableRoom(table), [], bounds);
}

/** @param chunks what all the keys begin with; stored keys then begin with the room's name instead */
function* expand(
  store: StoreReader,
  entries: Iterable<Entry>,
  room: Uint8Array,
  chunks: readonly Uint8Array[],
  bounds: Bounds,
): Generator<Entry> {
  const skip = chunks.length === 0 ? 0 : ROOM_BYTES;
  for (const entry of entries) {
    const [stored, value] = entry;
    if (stored.length - skip <= CHUNK_BYTES) {
      yield skip === 0 ? entry : [concatBytes(...chunks, stored.subarray(skip)), value];
      continue;
    }
    const chunk = stored.subarray(skip, skip + CHUNK_BYTES);
    const inner = roomOf(room, chunk);
    const rest = boundsBehind(chunk, bounds);
    const within = store.iterate(OVERFLOW, roomBounds(inner, outerBounds(rest)));
    yield* expand(store, within, inner, [...chunks, chunk], rest);
  }
}

/** Bounds cut to the first chunk, wide enough to include the markers that long bounds lead to. */
function outerBounds(bounds: Bounds): Bounds {
  const { from, to } = bounds;
  if ((from?.length ?? 0) <= CHUNK_BYTES && (to?.length ?? 0) <= CHUNK_BYTES) return bounds;
  const outer: { -readonly [K in keyof Bounds]: Bounds[K] } = { ...bounds };
  if (from && isLong(from)) outer.from = markerOf(from.subarray(0, CHUNK_BYTES));
  // One past the marker.
  if (to && isLong(to)) outer.to = concatBytes(markerOf(to.subarray(0, CHUNK_BYTES)), new Uint8Array(1));
  return outer;
}

/** What the bounds mean for the remainders of keys that begin with `chunk`, a chunk within the bounds. */
function boundsBehind(chunk: Uint8Array, bounds: Bounds): Bounds {
  const behind: { -readonly [K in keyof Bounds]: Bounds[K] } = {};
  if (bounds.reverse) behind.reverse = true;
  if (bounds.from && beginsWith(bounds.from, chunk)) behind.from = bounds.from.subarray(chunk.length);
  if (bounds.to && beginsWith(bounds.to, chunk)) behind.to = bounds.to.subarray(chunk.length);
  return behind;
}

function beginsWith(key: Uint8Array, chunk: Uint8Array): boolean {
  if (key.length <= chunk.length) return false;
  return Buffer.compare(key.subarray(0, chunk.length), chunk) === 0;
}

function roomBounds(room: Uint8Array, bounds: Bounds): Bounds {
  return {
    ...bounds,
    from: concatBytes(room, bounds.from ?? EMPTY_BYTES),
    to: bounds.to ? concatBytes(room, bounds.to) : after(room),
  };
}

/** The least key above all that begin with `room`. */
function after(room: Uint8Array): Uint8Array {
  const end = room.slice();
  for (let i = end.length - 1; i >= 0; i--) {
    end[i] = ((end[i] as number) + 1) & 0xff;
    if (end[i] !== 0) return end;
  }
  return concatBytes(room, new Uint8Array(CHUNK_BYTES + 1).fill(0xff));
}
