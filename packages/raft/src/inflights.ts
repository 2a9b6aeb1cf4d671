import { assert } from '@muster/base';

/**
 * The send window of one peer: last index and bytes of each append under way, bounded both ways. A ring that grows
 * to its bound and stays.
 */
export class Inflights {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  #lasts: number[] = [];
  #sizes: number[] = [];
  #start = 0;
  #count = 0;
  #bytes = 0;

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The byte bound may be passed by the one message that reaches it. */
  get full(): boolean {
    return this.#count >= this.#maxMessages || this.#bytes >= this.#maxBytes;
  }

  add(last: number, bytes: number): void {
    assert(!this.full, () => `window of ${this.#maxMessages} messages, ${this.#maxBytes} bytes is full`);
    if (this.#count === this.#lasts.length) this.#grow();
    const at = (this.#start + this.#count) % this.#lasts.length;
    this.#lasts[at] = last;
    this.#sizes[at] = bytes;
    this.#count++;
    this.#bytes += bytes;
  }

  /** The peer has everything up to `index`. */
  freeTo(index: number): void {
    while (this.#count > 0 && (this.#lasts[this.#start] as number) <= index) {
      this.#bytes -= this.#sizes[this.#start] as number;
      this.#start = (this.#start + 1) % this.#lasts.length;
      this.#count--;
    }
  }

  clear(): void {
    this.#start = 0;
    this.#count = 0;
    this.#bytes = 0;
  }

  #grow(): void {
    const capacity = Math.min(this.#maxMessages, Math.max(8, this.#lasts.length * 2));
    const lasts = new Array<number>(capacity).fill(0);
    const sizes = new Array<number>(capacity).fill(0);
    for (let i = 0; i < this.#count; i++) {
      const at = (this.#start + i) % this.#lasts.length;
      lasts[i] = this.#lasts[at] as number;
      sizes[i] = this.#sizes[at] as number;
    }
    this.#lasts = lasts;
    this.#sizes = sizes;
    this.#start = 0;
  }
}
