/**
 * What the tables hold. A `revisions` record is one change of one key with its value; it names the key's previous
 * record and carries two skip pointers, so that history is a chain that can be walked back in long steps. A `keys`
 * record is the newest change of a key without its value. Distances back are stored as differences: they are small.
 */
import { assert } from '@muster/base';
import { ByteReader, ByteWriter } from './byte-codec.ts';
import type { Revision } from './revision.ts';
import type { KeyValue } from './types.ts';

/** Every 64th and every 4096th record of a key's chain is a target of skip pointers. */
const SKIP_SHORT = 64;
const SKIP_LONG = 4096;

/** The newest record of a key. */
export type KeyHead = {
  readonly main: number;
  readonly sub: number;
  readonly deleted: boolean;
  /** 0 when deleted, as are version and lease. */
  readonly createRevision: number;
  readonly version: number;
  readonly lease: bigint;
  /** Records before this one in the chain, counted since the chain began; compaction does not change it. */
  readonly depth: number;
  /** The nearest earlier record whose depth is a multiple of SKIP_SHORT, or of SKIP_LONG. */
  readonly skipShort: Revision | undefined;
  readonly skipLong: Revision | undefined;
};

export type HeadState = Pick<KeyHead, 'deleted' | 'createRevision' | 'version' | 'lease'>;

/** Where a record's ancestors are. All of them may be compacted away. */
export type ChainLinks = {
  readonly prev: Revision | undefined;
  readonly skipShort: Revision | undefined;
  readonly skipLong: Revision | undefined;
};

const FORMAT = 1 << 5;
const FORMAT_MASK = 0xe0;
const DELETED = 1;
const HAS_PREV = 2;
const HAS_LEASE = 4;
const HAS_SKIP_SHORT = 8;
const HAS_SKIP_LONG = 16;

const headWriter = new ByteWriter();
const changeWriter = new ByteWriter({ pooling: true });

/** The head that follows `parent` in a key's chain; `undefined` begins a chain. */
export function nextHead(parent: KeyHead | undefined, at: Revision, state: HeadState): KeyHead {
  const depth = parent === undefined ? 0 : parent.depth + 1;
  return {
    main: at.main,
    sub: at.sub,
    deleted: state.deleted,
    createRevision: state.createRevision,
    version: state.version,
    lease: state.lease,
    depth,
    skipShort: skipOf(parent, SKIP_SHORT),
    skipLong: skipOf(parent, SKIP_LONG),
  };
}

function skipOf(parent: KeyHead | undefined, every: number): Revision | undefined {
  if (parent === undefined) return undefined;
  if (parent.depth % every === 0) return parent;
  return every === SKIP_SHORT ? parent.skipShort : parent.skipLong;
}

function headFlags(head: KeyHead): number {
  let flags = FORMAT;
  if (head.deleted) flags |= DELETED;
  if (head.lease !== 0n) flags |= HAS_LEASE;
  if (head.skipShort !== undefined) flags |= HAS_SKIP_SHORT;
  if (head.skipLong !== undefined) flags |= HAS_SKIP_LONG;
  return flags;
}

function writeState(writer: ByteWriter, head: KeyHead): void {
  if (!head.deleted) {
    writer.varint(head.createRevision);
    writer.varint(head.version);
  }
  if (head.lease !== 0n) writer.u64(head.lease);
}

function writeLink(writer: ByteWriter, from: number, link: Revision | undefined): void {
  if (link === undefined) return;
  writer.varint(from - link.main);
  writer.varint(link.sub);
}

function readLink(reader: ByteReader, from: number, present: number): Revision | undefined {
  if (present === 0) return undefined;
  const main = from - reader.varint();
  return { main, sub: reader.varint() };
}

function readFlags(reader: ByteReader): number {
  const flags = reader.u8();
  assert((flags & FORMAT_MASK) === FORMAT, () => `unknown record format ${flags >>> 5}`);
  return flags;
}

export function encodeHead(head: KeyHead): Uint8Array {
  const writer = headWriter;
  writer.u8(headFlags(head));
  writer.varint(head.main);
  writer.varint(head.sub);
  writeState(writer, head);
  writer.varint(head.depth);
  writeLink(writer, head.main, head.skipShort);
  writeLink(writer, head.main, head.skipLong);
  return writer.take();
}

export function decodeHead(bytes: Uint8Array): KeyHead {
  const reader = new ByteReader(bytes);
  const flags = readFlags(reader);
  const main = reader.varint();
  const sub = reader.varint();
  const deleted = (flags & DELETED) !== 0;
  return {
    main,
    sub,
    deleted,
    createRevision: deleted ? 0 : reader.varint(),
    version: deleted ? 0 : reader.varint(),
    lease: flags & HAS_LEASE ? reader.i64() : 0n,
    depth: reader.varint(),
    skipShort: readLink(reader, main, flags & HAS_SKIP_SHORT),
    skipLong: readLink(reader, main, flags & HAS_SKIP_LONG),
  };
}

/** The `revisions` record of the change that `head` describes; `prev` is its parent in the chain. */
export function encodeChange(
  head: KeyHead,
  prev: Revision | undefined,
  key: Uint8Array,
  value: Uint8Array,
): Uint8Array {
  const writer = changeWriter;
  writer.u8(prev === undefined ? headFlags(head) : headFlags(head) | HAS_PREV);
  writeLink(writer, head.main, prev);
  writeLink(writer, head.main, head.skipShort);
  writeLink(writer, head.main, head.skipLong);
  writeState(writer, head);
  writer.bytes(key);
  writer.raw(value);
  return writer.take();
}

/** Of a record of either table. */
export function isDeletion(record: Uint8Array): boolean {
  return ((record[0] as number) & DELETED) !== 0;
}

/** Only the links, which come first. `main` is the record's own. */
export function decodeLinks(main: number, record: Uint8Array): ChainLinks {
  const reader = new ByteReader(record);
  return readLinks(reader, main, readFlags(reader));
}

function readLinks(reader: ByteReader, main: number, flags: number): ChainLinks {
  return {
    prev: readLink(reader, main, flags & HAS_PREV),
    skipShort: readLink(reader, main, flags & HAS_SKIP_SHORT),
    skipLong: readLink(reader, main, flags & HAS_SKIP_LONG),
  };
}

/** A change as `revisions` holds it. Of a deletion `kv` has key and modRevision, all else is zero. */
export type Change = {
  readonly deleted: boolean;
  readonly prev: Revision | undefined;
  readonly kv: KeyValue;
};

export function decodeChange(main: number, record: Uint8Array): Change {
  const reader = new ByteReader(record);
  const flags = readFlags(reader);
  const { prev } = readLinks(reader, main, flags);
  const deleted = (flags & DELETED) !== 0;
  const createRevision = deleted ? 0 : reader.varint();
  const version = deleted ? 0 : reader.varint();
  const lease = flags & HAS_LEASE ? reader.i64() : 0n;
  const key = reader.bytes();
  const value = reader.rest();
  return { deleted, prev, kv: { key, value, createRevision, modRevision: main, version, lease } };
}
