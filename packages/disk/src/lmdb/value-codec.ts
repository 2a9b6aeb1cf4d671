/** Copies values into and out of LMDB at the least cost. */

const SLAB_OUT_BYTES = 64 * 1024;
const SLAB_IN_BYTES = 16 * 1024;
/** Below this an array of its own is cheaper than a view of a slab; above the other a slab is not worth its rest. */
const SLAB_FROM_BYTES = 64;
const SLAB_TO_BYTES = 4096;

/** lmdb's way to hand over part of a buffer: it reads `start` and `end`, and keeps the buffer until it is written. */
type OutSlab = Buffer & { start: number; end: number };

function newOutSlab(): OutSlab {
  return Object.assign(Buffer.allocUnsafeSlow(SLAB_OUT_BYTES), { start: 0, end: 0 });
}

/**
 * lmdb takes the native address of each value's buffer, which is dear for many small ones; values are gathered in
 * slabs instead. Values read are copies that stay valid.
 */
export class ValueCodec {
  #out: OutSlab = newOutSlab();
  #outAt = 0;
  #in = new ArrayBuffer(SLAB_IN_BYTES);
  #inAt = 0;
  #source: ArrayBufferLike = this.#in;
  #sourceBytes: Uint8Array = new Uint8Array(this.#in);

  encode(value: Uint8Array): Uint8Array {
    if (value.length > SLAB_TO_BYTES) return value;
    if (this.#outAt + value.length > SLAB_OUT_BYTES) {
      this.#out = newOutSlab();
      this.#outAt = 0;
    }
    const slab = this.#out;
    slab.set(value, this.#outAt);
    slab.start = this.#outAt;
    this.#outAt += value.length;
    slab.end = this.#outAt;
    return slab;
  }

  /** `bytes.length` is lmdb's own notion: its buffer is larger and is used again. */
  decode(bytes: Uint8Array): Uint8Array {
    const { length } = bytes;
    if (bytes.buffer !== this.#source) {
      this.#source = bytes.buffer;
      this.#sourceBytes = new Uint8Array(bytes.buffer);
    }
    const at = bytes.byteOffset;
    const source = this.#sourceBytes;
    if (length < SLAB_FROM_BYTES || length > SLAB_TO_BYTES) return source.slice(at, at + length);
    if (this.#inAt + length > SLAB_IN_BYTES) {
      this.#in = new ArrayBuffer(SLAB_IN_BYTES);
      this.#inAt = 0;
    }
    const copy = new Uint8Array(this.#in, this.#inAt, length);
    copy.set(source.subarray(at, at + length));
    this.#inAt += length;
    return copy;
  }
}
