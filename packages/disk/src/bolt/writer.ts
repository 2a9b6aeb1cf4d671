import { assert } from '@muster/base';
import {
  BRANCH,
  BUCKET_BYTES,
  COUNT_MAX,
  ELEMENT_BYTES,
  FREELIST,
  IS_BUCKET,
  LEAF,
  metaPage,
  PAGE_HEADER_BYTES,
  writePageHeader,
} from './format.ts';

export const PAGE_BYTES = 4096;
const FREELIST_PAGE = 2;
/** The transaction that the file says it was written by: content alone decides the bytes. */
const TRANSACTION = 2n;
/** Pages are gathered to this size before they are handed out. */
const BLOCK_BYTES = 256 * 1024;
/** Memory is taken in pieces: many small ones are dear to collect. */
const PIECE_BYTES = 64 * 1024;
/** With fewer children a level of long keys would not be shorter than the one below it; bbolt has as many. */
const CHILDREN_MIN = 2;
/** bbolt refuses longer keys. */
const KEY_BYTES_MAX = 32_768;

type Element = { readonly key: Uint8Array; readonly value: Uint8Array; readonly flags: number };
type Node = { elements: Element[]; bytes: number };

const NO_KEY = new Uint8Array(0);

/**
 * Builds a bbolt file from sorted entries in one pass. Trees are built from the bottom up: of each level only the page
 * under way is in memory. Pages come out in order, from page 2 on; the two meta pages before them come last.
 */
export class BoltWriter {
  #nextPage = FREELIST_PAGE;
  #piece: Buffer = Buffer.alloc(0);
  #block: Buffer[] = [];
  #blockBytes = 0;
  readonly #buckets: Element[] = [];
  #tree: Tree | undefined;
  #name = NO_KEY;

  constructor() {
    const header = { id: FREELIST_PAGE, flags: FREELIST, count: 0, overflow: 0 };
    writePageHeader(this.#room(PAGE_BYTES), header);
  }

  /** Buckets come in the order of their names. */
  beginBucket(name: Uint8Array): void {
    assert(!this.#tree, 'a bucket within a bucket');
    const before = this.#buckets.at(-1)?.key;
    assert(!before || Buffer.compare(before, name) < 0, 'buckets in order');
    this.#name = name as typeof NO_KEY;
    this.#tree = new Tree((flags, elements) => this.#page(flags, elements));
  }

  /** Keys ascend within a bucket. */
  add(key: Uint8Array, value: Uint8Array): void {
    assert(this.#tree, 'an entry outside of a bucket');
    assert(key.length > 0 && key.length <= KEY_BYTES_MAX, () => `a key of ${key.length} bytes`);
    this.#tree.add(key, value, 0);
  }

  endBucket(): void {
    assert(this.#tree, 'no bucket to end');
    const value = Buffer.alloc(BUCKET_BYTES);
    value.writeBigUInt64LE(BigInt(this.#tree.finish()), 0);
    this.#buckets.push({ key: this.#name, value, flags: IS_BUCKET });
    this.#tree = undefined;
  }

  /** True when `take` should be called, so that memory stays bounded. */
  get full(): boolean {
    return this.#blockBytes >= BLOCK_BYTES;
  }

  /** The pages since the last call; they follow each other in the file from `PAGES_START` on. */
  take(): Buffer {
    const block = this.#block.length === 1 ? (this.#block[0] as Buffer) : Buffer.concat(this.#block);
    this.#block = [];
    this.#blockBytes = 0;
    return block;
  }

  /** Ends the file: call `take` once more, then write these pages to its beginning. */
  finish(): Buffer {
    assert(!this.#tree, 'the last bucket is not ended');
    const tree = new Tree((flags, elements) => this.#page(flags, elements));
    for (const { key, value, flags } of this.#buckets) tree.add(key, value, flags);
    const root = tree.finish();
    const meta = { pageSize: PAGE_BYTES, root, pages: this.#nextPage };
    return Buffer.concat([
      metaPage({ ...meta, transaction: TRANSACTION }, 0, FREELIST_PAGE),
      metaPage({ ...meta, transaction: TRANSACTION - 1n }, 1, FREELIST_PAGE),
    ]);
  }

  #page(flags: number, elements: readonly Element[]): number {
    const id = this.#nextPage;
    const length = pageLength(flags, elements);
    const pages = Math.ceil(length / PAGE_BYTES);
    encodePage(this.#room(pages * PAGE_BYTES), { id, flags, overflow: pages - 1 }, elements);
    return id;
  }

  /** The next pages of the file, all zero. */
  #room(bytes: number): Buffer {
    if (this.#piece.length < bytes) this.#piece = Buffer.alloc(Math.max(bytes, PIECE_BYTES));
    const room = this.#piece.subarray(0, bytes);
    this.#piece = this.#piece.subarray(bytes);
    this.#nextPage += bytes / PAGE_BYTES;
    this.#block.push(room);
    this.#blockBytes += bytes;
    return room;
  }
}

/** Where in the file the first block of `BoltWriter.take` goes. */
export const PAGES_START: number = 2 * PAGE_BYTES;

type MakePage = (flags: number, elements: readonly Element[]) => number;

/** One B+tree: level 0 are leaves, above it branches whose values are page numbers. */
class Tree {
  readonly #makePage: MakePage;
  readonly #levels: Node[] = [{ elements: [], bytes: PAGE_HEADER_BYTES }];

  constructor(makePage: MakePage) {
    this.#makePage = makePage;
  }

  add(key: Uint8Array, value: Uint8Array, flags: number): void {
    this.#add(0, { key, value, flags });
  }

  /** Returns the root's page. */
  finish(): number {
    for (let level = 0; ; level++) {
      const node = this.#levels[level] as Node;
      if (level === this.#levels.length - 1)
        return this.#makePage(level === 0 ? LEAF : BRANCH, node.elements);
      this.#close(level);
    }
  }

  #add(level: number, element: Element): void {
    const node = this.#level(level);
    const bytes = ELEMENT_BYTES + element.key.length + (level === 0 ? element.value.length : 0);
    const isFull = node.bytes + bytes > PAGE_BYTES || node.elements.length >= COUNT_MAX;
    if (isFull && node.elements.length >= (level === 0 ? 1 : CHILDREN_MIN)) this.#close(level);
    node.elements.push(element);
    node.bytes += bytes;
  }

  #level(level: number): Node {
    let node = this.#levels[level];
    if (!node) {
      node = { elements: [], bytes: PAGE_HEADER_BYTES };
      this.#levels.push(node);
    }
    return node;
  }

  /** Writes the page under way and enters it in the level above. */
  #close(level: number): void {
    const node = this.#levels[level] as Node;
    const key = (node.elements[0] as Element).key;
    const page = Buffer.alloc(8);
    page.writeBigUInt64LE(BigInt(this.#makePage(level === 0 ? LEAF : BRANCH, node.elements)), 0);
    node.elements = [];
    node.bytes = PAGE_HEADER_BYTES;
    this.#add(level + 1, { key, value: page, flags: 0 });
  }
}

function pageLength(flags: number, elements: readonly Element[]): number {
  let length = PAGE_HEADER_BYTES + elements.length * ELEMENT_BYTES;
  for (const { key, value } of elements) length += key.length + (flags === LEAF ? value.length : 0);
  return length;
}

function encodePage(
  page: Buffer,
  header: { readonly id: number; readonly flags: number; readonly overflow: number },
  elements: readonly Element[],
): void {
  const isLeaf = header.flags === LEAF;
  writePageHeader(page, { ...header, count: elements.length });
  let at = PAGE_HEADER_BYTES;
  let data = PAGE_HEADER_BYTES + elements.length * ELEMENT_BYTES;
  for (const element of elements) {
    const { key, value } = element;
    if (isLeaf) {
      page.writeUInt32LE(element.flags, at);
      page.writeUInt32LE(data - at, at + 4);
      page.writeUInt32LE(key.length, at + 8);
      page.writeUInt32LE(value.length, at + 12);
    } else {
      page.writeUInt32LE(data - at, at);
      page.writeUInt32LE(key.length, at + 4);
      page.set(value, at + 8);
    }
    page.set(key, data);
    data += key.length;
    if (isLeaf) {
      page.set(value, data);
      data += value.length;
    }
    at += ELEMENT_BYTES;
  }
}
