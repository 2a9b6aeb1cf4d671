import { compareBytes } from '@muster/base';
import type { Bounds, Entry } from './engine.ts';

const CHUNK_MAX = 256;

type Chunk = { readonly keys: Uint8Array[]; readonly values: Uint8Array[] };

/**
 * An ordered map of bytes to bytes: a sorted list of sorted chunks, split when full. Appending is the fast case. Keys
 * are copied, for they are often views into something large; values are not.
 */
export class SortedTable {
  #chunks: Chunk[] = [];
  #size = 0;
  #bytes = 0;

  get size(): number {
    return this.#size;
  }

  /** Of all keys and values. */
  get bytes(): number {
    return this.#bytes;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const chunk = this.#chunks[this.#chunkAt(key)];
    if (chunk === undefined) return undefined;
    const at = lowerBound(chunk.keys, key);
    const found = chunk.keys[at];
    return found !== undefined && compareBytes(found, key) === 0 ? chunk.values[at] : undefined;
  }

  /** Returns what the key held before. */
  set(key: Uint8Array, value: Uint8Array): Uint8Array | undefined {
    const index = this.#chunkAt(key);
    const chunk = this.#chunks[index];
    if (chunk === undefined) return this.#first(key, value);
    const at = lowerBound(chunk.keys, key);
    const found = chunk.keys[at];
    this.#bytes += value.length;
    if (found !== undefined && compareBytes(found, key) === 0) {
      const old = chunk.values[at] as Uint8Array;
      chunk.values[at] = value;
      this.#bytes -= old.length;
      return old;
    }
    this.#size++;
    this.#bytes += key.length;
    insertAt(chunk.keys, at, key.slice());
    insertAt(chunk.values, at, value);
    if (chunk.keys.length > CHUNK_MAX) this.#split(index, chunk);
    return undefined;
  }

  /** Returns what the key held. */
  delete(key: Uint8Array): Uint8Array | undefined {
    const index = this.#chunkAt(key);
    const chunk = this.#chunks[index];
    if (chunk === undefined) return undefined;
    const at = lowerBound(chunk.keys, key);
    const found = chunk.keys[at];
    if (found === undefined || compareBytes(found, key) !== 0) return undefined;
    const old = chunk.values[at] as Uint8Array;
    chunk.keys.splice(at, 1);
    chunk.values.splice(at, 1);
    this.#size--;
    this.#bytes -= key.length + old.length;
    if (chunk.keys.length === 0) this.#chunks.splice(index, 1);
    return old;
  }

  *iterate(bounds: Bounds): Generator<Entry> {
    if (bounds.reverse) yield* this.#descend(bounds);
    else yield* this.#ascend(bounds);
  }

  copy(): SortedTable {
    const out = new SortedTable();
    out.#chunks = this.#chunks.map((chunk) => ({ keys: [...chunk.keys], values: [...chunk.values] }));
    out.#size = this.#size;
    out.#bytes = this.#bytes;
    return out;
  }

  *#ascend({ from, to }: Bounds): Generator<Entry> {
    let index = from === undefined ? 0 : this.#chunkAt(from);
    const first = this.#chunks[index];
    let at = first === undefined || from === undefined ? 0 : lowerBound(first.keys, from);
    for (; index < this.#chunks.length; index++, at = 0) {
      const { keys, values } = this.#chunks[index] as Chunk;
      for (; at < keys.length; at++) {
        const key = keys[at] as Uint8Array;
        if (to !== undefined && compareBytes(key, to) >= 0) return;
        yield [key, values[at] as Uint8Array];
      }
    }
  }

  *#descend({ from, to }: Bounds): Generator<Entry> {
    let index = to === undefined ? this.#chunks.length - 1 : this.#chunkAt(to);
    const last = this.#chunks[index];
    let at = (last === undefined ? 0 : to === undefined ? last.keys.length : lowerBound(last.keys, to)) - 1;
    for (; index >= 0; index--, at = (this.#chunks[index]?.keys.length ?? 0) - 1) {
      const { keys, values } = (this.#chunks[index] as Chunk | undefined) ?? { keys: [], values: [] };
      for (; at >= 0; at--) {
        const key = keys[at] as Uint8Array;
        if (from !== undefined && compareBytes(key, from) < 0) return;
        yield [key, values[at] as Uint8Array];
      }
    }
  }

  /** The chunk that holds `key` or would: the last one that begins at or before it, else the first. */
  #chunkAt(key: Uint8Array): number {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length - 1;
    if (high >= 0 && compareBytes((chunks[high] as Chunk).keys[0] as Uint8Array, key) <= 0) return high;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (compareBytes((chunks[middle] as Chunk).keys[0] as Uint8Array, key) <= 0) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #first(key: Uint8Array, value: Uint8Array): undefined {
    this.#chunks.push({ keys: [key.slice()], values: [value] });
    this.#size = 1;
    this.#bytes = key.length + value.length;
    return undefined;
  }

  #split(index: number, chunk: Chunk): void {
    // An append splits off the newest entry alone, so that chunks filled in order stay full.
    const appended = index === this.#chunks.length - 1;
    const at = appended ? chunk.keys.length - 1 : chunk.keys.length >>> 1;
    this.#chunks.splice(index + 1, 0, { keys: chunk.keys.splice(at), values: chunk.values.splice(at) });
  }
}

function insertAt<T>(list: T[], at: number, item: T): void {
  if (at === list.length) list.push(item);
  else list.splice(at, 0, item);
}

/** The index of the first key that is not below `key`. */
function lowerBound(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0;
  let high = keys.length;
  if (high > 0 && compareBytes(keys[high - 1] as Uint8Array, key) < 0) return high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(keys[middle] as Uint8Array, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
