/**
 * bbolt's file, little-endian: pages of one size, each with a header of id u64, flags u16, count u16, overflow u32 (how
 * many more pages belong to it). Pages 0 and 1 are meta pages, of which the one with the higher transaction id counts.
 *
 *     meta      magic u32, version u32, page size u32, flags u32, root (page u64, sequence u64), freelist u64,
 *               number of pages u64, transaction id u64, checksum u64 (FNV-1a of what is before it)
 *     branch    per child: position u32 (from the element itself), key length u32, page u64
 *     leaf      per entry: flags u32 (1: a bucket), position u32, key length u32, value length u32
 *     freelist  page ids u64; with more than 65,534 of them count is 0xffff and the first u64 the number
 *
 * A bucket's value is root u64 and sequence u64; with root 0 a leaf page follows in the value itself.
 */
export const PAGE_HEADER_BYTES = 16;
export const ELEMENT_BYTES = 16;
export const BUCKET_BYTES = 16;
const META_BYTES: number = 64;
export const COUNT_MAX = 0xfffe;

export const BRANCH = 0x01;
export const LEAF = 0x02;
const META = 0x04;
export const FREELIST = 0x10;
export const IS_BUCKET = 0x01;

const MAGIC = 0xed0cdaed;
const VERSION = 2;

/** The file cannot be used; the message says where it is wrong. */
export class BoltDamaged extends Error {
  override readonly name = 'BoltDamaged';
}

export type Meta = {
  readonly pageSize: number;
  /** Page of the bucket of buckets. */
  readonly root: number;
  readonly pages: number;
  readonly transaction: bigint;
};

export function writePageHeader(page: Buffer, { id, flags, count, overflow }: PageHeader): void {
  page.writeBigUInt64LE(BigInt(id), 0);
  page.writeUInt16LE(flags, 8);
  page.writeUInt16LE(count, 10);
  page.writeUInt32LE(overflow, 12);
}

export type PageHeader = {
  readonly id: number;
  readonly flags: number;
  readonly count: number;
  readonly overflow: number;
};

export function readPageHeader(page: Buffer): PageHeader {
  return {
    id: Number(page.readBigUInt64LE(0)),
    flags: page.readUInt16LE(8),
    count: page.readUInt16LE(10),
    overflow: page.readUInt32LE(12),
  };
}

export function metaPage(meta: Meta, id: 0 | 1, freelist: number): Buffer {
  const page = Buffer.alloc(meta.pageSize);
  writePageHeader(page, { id, flags: META, count: 0, overflow: 0 });
  const b = page.subarray(PAGE_HEADER_BYTES);
  b.writeUInt32LE(MAGIC, 0);
  b.writeUInt32LE(VERSION, 4);
  b.writeUInt32LE(meta.pageSize, 8);
  b.writeBigUInt64LE(BigInt(meta.root), 16);
  b.writeBigUInt64LE(BigInt(freelist), 32);
  b.writeBigUInt64LE(BigInt(meta.pages), 40);
  b.writeBigUInt64LE(meta.transaction, 48);
  b.writeBigUInt64LE(fnv1a(b.subarray(0, 56)), 56);
  return page;
}

/** `undefined` when these are not the bytes of a whole meta page. */
export function readMeta(page: Buffer): Meta | undefined {
  const b = page.subarray(PAGE_HEADER_BYTES);
  if (b.length < META_BYTES || b.readUInt32LE(0) !== MAGIC || b.readUInt32LE(4) !== VERSION) return undefined;
  if (b.readBigUInt64LE(56) !== fnv1a(b.subarray(0, 56))) return undefined;
  const root = b.readBigUInt64LE(16);
  const pages = b.readBigUInt64LE(40);
  if (root >= pages || pages > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  return {
    pageSize: b.readUInt32LE(8),
    root: Number(root),
    pages: Number(pages),
    transaction: b.readBigUInt64LE(48),
  };
}

function fnv1a(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}
