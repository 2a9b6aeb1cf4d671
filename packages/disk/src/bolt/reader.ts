import {
  BoltDamaged,
  BRANCH,
  BUCKET_BYTES,
  ELEMENT_BYTES,
  IS_BUCKET,
  LEAF,
  type Meta,
  PAGE_HEADER_BYTES,
  type PageHeader,
  readMeta,
  readPageHeader,
} from './format.ts';
import type { BoltSource } from './source.ts';

/** A tree of more levels than this does not fit into any disk. */
const DEPTH_MAX = 64;
const PAGE_SIZES = [4096, 8192, 16_384, 32_768, 65_536, 1024, 2048];

type BoltEntry = readonly [key: Buffer, value: Buffer];
type BoltBucket = { readonly name: Buffer; readonly entries: () => Generator<BoltEntry> };

type Element = { readonly key: Buffer; readonly value: Buffer; readonly isBucket: boolean };
type Page = { readonly header: PageHeader; readonly bytes: Buffer; readonly where: string };

/**
 * A bbolt file, also one that bbolt itself wrote. Whatever the bytes are, reading ends: in entries whose keys ascend, or
 * in `BoltDamaged`.
 */
export class BoltFile {
  readonly meta: Meta;
  readonly #source: BoltSource;

  /** `size` is how much of the source is the file: a checksum may follow it. */
  constructor(source: BoltSource, size: number = source.size) {
    this.#source = source;
    this.meta = newestMeta(source, size);
    const { pages, pageSize } = this.meta;
    if (pages * pageSize > size) {
      throw new BoltDamaged(
        `the database says that it has ${pages} pages of ${pageSize} bytes, but the file has ${size} bytes: ` +
          'it was cut short',
      );
    }
  }

  /** Bytes that the database fills. */
  get bytes(): number {
    return this.meta.pages * this.meta.pageSize;
  }

  /**
   * The buckets at the top, in order of their names; the entries of each may be read once. Buckets within buckets are
   * refused: etcd has none.
   */
  *buckets(): Generator<BoltBucket> {
    const seen = new PageSet(this.meta.pages);
    for (const { key, value, isBucket } of this.#walk(this.meta.root, seen, 0)) {
      if (!isBucket) throw new BoltDamaged(`entry "${printable(key)}" stands where only buckets can`);
      yield { name: key, entries: () => this.#entries(key, value, seen) };
    }
  }

  *#entries(name: Buffer, value: Buffer, seen: PageSet): Generator<BoltEntry> {
    const where = `bucket "${printable(name)}"`;
    if (value.length < BUCKET_BYTES) throw new BoltDamaged(`${where} has a header of ${value.length} bytes`);
    const root = value.readBigUInt64LE(0);
    const elements =
      root === 0n ? leafElements(inlinePage(value, where)) : this.#walk(pageNumber(root, where), seen, 0);
    let before: Buffer | undefined;
    for (const { key, value: found, isBucket } of elements) {
      if (isBucket) throw new BoltDamaged(`${where} has a bucket "${printable(key)}" in it`);
      if (before && Buffer.compare(before, key) >= 0) {
        throw new BoltDamaged(`${where}: key "${printable(key)}" is out of order`);
      }
      before = key;
      yield [key, found];
    }
  }

  *#walk(id: number, seen: PageSet, depth: number): Generator<Element> {
    if (depth > DEPTH_MAX) throw new BoltDamaged(`page ${id} is ${depth} levels deep`);
    const page = this.#page(id, seen);
    if (page.header.flags === LEAF) return yield* leafElements(page);
    if (page.header.flags !== BRANCH) {
      throw new BoltDamaged(`page ${id} is of kind ${page.header.flags}, expected a branch or a leaf`);
    }
    for (const child of branchChildren(page)) yield* this.#walk(child, seen, depth + 1);
  }

  #page(id: number, seen: PageSet): Page {
    const { pageSize, pages } = this.meta;
    if (id < 2 || id >= pages) throw new BoltDamaged(`page ${id} is not one of the ${pages} that there are`);
    if (!seen.add(id)) throw new BoltDamaged(`page ${id} is used twice`);
    const first = this.#source.read(id * pageSize, pageSize);
    const header = readPageHeader(first);
    if (header.id !== id) throw new BoltDamaged(`page ${id} says that it is page ${header.id}`);
    if (id + header.overflow >= pages)
      throw new BoltDamaged(`page ${id} goes on for ${header.overflow} pages behind the end`);
    const bytes =
      header.overflow === 0 ? first : this.#source.read(id * pageSize, (header.overflow + 1) * pageSize);
    return { header, bytes, where: `page ${id}` };
  }
}

function newestMeta(source: BoltSource, size: number): Meta {
  const found: Meta[] = [];
  const at = (position: number, pageSize: number) => {
    if (position + pageSize > size) return;
    const meta = readMeta(source.read(position, pageSize));
    if (meta && (meta.pageSize === pageSize || position === 0)) found.push(meta);
  };
  at(0, Math.min(1024, size));
  const first = found[0]?.pageSize;
  for (const pageSize of first === undefined ? PAGE_SIZES : [first]) at(pageSize, pageSize);
  const valid = found.filter(({ pageSize }) => PAGE_SIZES.includes(pageSize));
  const newest = valid.sort((a, b) => (a.transaction > b.transaction ? -1 : 1))[0];
  if (!newest)
    throw new BoltDamaged('neither meta page is valid: this is no bbolt database, or its head is damaged');
  return newest;
}

function inlinePage(value: Buffer, where: string): Page {
  const bytes = value.subarray(BUCKET_BYTES);
  if (bytes.length < PAGE_HEADER_BYTES) throw new BoltDamaged(`${where} ends within its inline page`);
  const header = readPageHeader(bytes);
  if (header.flags !== LEAF) throw new BoltDamaged(`${where} has an inline page of kind ${header.flags}`);
  return { header, bytes, where };
}

function* leafElements({ header, bytes, where }: Page): Generator<Element> {
  for (let i = 0; i < header.count; i++) {
    const at = elementAt(bytes, i, where);
    const flags = bytes.readUInt32LE(at);
    const start = at + bytes.readUInt32LE(at + 4);
    const middle = start + bytes.readUInt32LE(at + 8);
    const end = middle + bytes.readUInt32LE(at + 12);
    if (end > bytes.length) throw new BoltDamaged(`${where}: entry ${i} ends behind its page`);
    yield {
      key: bytes.subarray(start, middle),
      value: bytes.subarray(middle, end),
      isBucket: (flags & IS_BUCKET) !== 0,
    };
  }
}

function* branchChildren({ header, bytes, where }: Page): Generator<number> {
  if (header.count === 0) throw new BoltDamaged(`${where} is a branch without children`);
  for (let i = 0; i < header.count; i++) {
    yield pageNumber(bytes.readBigUInt64LE(elementAt(bytes, i, where) + 8), where);
  }
}

function elementAt(bytes: Buffer, i: number, where: string): number {
  const at = PAGE_HEADER_BYTES + i * ELEMENT_BYTES;
  if (at + ELEMENT_BYTES > bytes.length) throw new BoltDamaged(`${where} has more entries than room`);
  return at;
}

function pageNumber(id: bigint, where: string): number {
  if (id > BigInt(Number.MAX_SAFE_INTEGER)) throw new BoltDamaged(`${where} leads to page ${id}`);
  return Number(id);
}

function printable(name: Buffer): string {
  return name
    .subarray(0, 40)
    .toString('latin1')
    .replace(/[^ -~]/g, '?');
}

/** Pages that were visited: one bit each. */
class PageSet {
  readonly #bits: Uint8Array;

  constructor(pages: number) {
    this.#bits = new Uint8Array(Math.ceil(pages / 8));
  }

  /** False when it was there already. */
  add(id: number): boolean {
    const at = id >>> 3;
    const bit = 1 << (id & 7);
    if (((this.#bits[at] as number) & bit) !== 0) return false;
    this.#bits[at] = (this.#bits[at] as number) | bit;
    return true;
  }
}
