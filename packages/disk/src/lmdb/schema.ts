/** What is where in the LMDB file, and how it is opened. */
import { mkdirSync, statSync } from 'node:fs';
import { assert, binaryString } from '@muster/base';
import { TABLES, type Table } from '@muster/kv';
import { type Database, open, type RootDatabase } from 'lmdb';
import { ValueCodec } from './value-codec.ts';

/** Ours beside the Engine's tables: `overflow` has what long keys hold (see long-keys.ts), `system` the tag. */
export const STORE_TABLES = [...TABLES, 'overflow', 'system'] as const;
type StoreTable = (typeof STORE_TABLES)[number];
export const TABLE_COUNT: number = STORE_TABLES.length;

const FORMAT_VERSION = 1;
const FORMAT_KEY = 'format';
export const TAG_KEY = 'flushedTag';
/**
 * Address space, not memory or disk: a map that never has to move. The file may grow to this and no further.
 */
const MAP_BYTES_DEFAULT: number = 1024 ** 4;
const PAGE_BYTES = 4096;

/** Keys go to LMDB as binary strings or bytes, values as bytes. */
type StoreKey = string | Uint8Array;
export type StoreDatabase = Database<Uint8Array, StoreKey>;

export type Environment = {
  readonly root: RootDatabase<Uint8Array, StoreKey>;
  /** By position in STORE_TABLES. */
  readonly tables: readonly StoreDatabase[];
  readonly path: string;
};

const numbers = new Map<string, number>(STORE_TABLES.map((name, i) => [name, i]));
export function tableNumber(name: Table | StoreTable): number {
  const number = numbers.get(name);
  assert(number !== undefined, () => `no table ${name}`);
  return number;
}

const keyEncoder = {
  writeKey(key: StoreKey, target: Buffer, position: number): number {
    if (typeof key === 'string') return position + target.write(key, position, 'latin1');
    target.set(key, position);
    return position + key.length;
  },
  readKey(source: Buffer, start: number, end: number): Uint8Array {
    return new Uint8Array(source.buffer, source.byteOffset + start, end - start).slice();
  },
};

/**
 * Opens or creates the file. Every commit is on disk, data before the page that makes it count, when it is reported:
 * LMDB's own order, so that a power cut leaves the newest commit or an older one, never a mixture.
 */
export function openEnvironment(path: string, mapBytes: number = MAP_BYTES_DEFAULT): Environment {
  mkdirSync(path.slice(0, path.lastIndexOf('/')), { recursive: true, mode: 0o700 });
  const options = { keyEncoder, encoding: 'binary' as const, encoder: new ValueCodec() };
  const root = open<Uint8Array, StoreKey>({
    path,
    noSubdir: true,
    maxDbs: TABLE_COUNT,
    mapSize: mapBytes,
    pageSize: PAGE_BYTES,
    overlappingSync: false,
    noMemInit: false,
    cache: false,
    // Transactions are put together here; lmdb's own gathering makes promises that nobody could handle.
    eventTurnBatching: false,
    ...options,
  } as Parameters<typeof open>[0]) as RootDatabase<Uint8Array, StoreKey>;
  const tables: StoreDatabase[] = [];
  root.transactionSync(() => {
    for (const name of STORE_TABLES) {
      tables.push(root.openDB<Uint8Array, StoreKey>({ name, ...options } as never) as StoreDatabase);
    }
    const system = tables[tableNumber('system')] as StoreDatabase;
    const version = system.get(FORMAT_KEY);
    if (version === undefined) system.putSync(FORMAT_KEY, encodeNumber(FORMAT_VERSION));
    else checkVersion(path, decodeNumber(version));
  });
  return { root, tables, path };
}

function checkVersion(path: string, version: number): void {
  if (version === FORMAT_VERSION) return;
  throw new Error(
    `${path} has format version ${version}, this program reads ${FORMAT_VERSION}: use the program that wrote it`,
  );
}

export function fileBytes(path: string): number {
  return statSync(path).size;
}

export function encodeNumber(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes;
}

export function decodeNumber(bytes: Uint8Array): number {
  assert(bytes.length === 8, () => `a number of ${bytes.length} bytes: ${binaryString(bytes)}`);
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0);
}
