import { EMPTY_BYTES } from '@muster/base';
import { GrpcCode } from '@muster/contract';
import type { BudgetShare, ByteBudget } from './byte-budget.ts';
import { GrpcStatus } from './grpc-status.ts';

const PREFIX_BYTES = 5;
const COMPRESSED = 1;
/** Room is made for this much of a message at first, whatever length it claims. */
const FIRST_BYTES = 16 * 1024;

const TOO_MUCH_COMES = 'grpc: too many messages are being received at once';

/** The message that `chunk` begins with, not copied; undefined unless it is whole and nothing about it is to refuse. */
export function wholeMessage(chunk: Uint8Array, messageBytes: number): Uint8Array | undefined {
  if (chunk.length < PREFIX_BYTES || chunk[0] !== 0) return undefined;
  const at = (i: number): number => chunk[i] as number;
  const length = at(1) * 0x100_0000 + ((at(2) << 16) | (at(3) << 8) | at(4));
  if (length > messageBytes || chunk.length < PREFIX_BYTES + length) return undefined;
  return new Uint8Array(chunk.buffer, chunk.byteOffset + PREFIX_BYTES, length);
}

/**
 * Cuts the bytes of a stream into gRPC's messages, each of which has a flag and its length before it. Messages come in
 * memory of their own, so that a value kept out of one keeps nothing else.
 */
export class MessageReader {
  readonly #messageBytes: number;
  readonly #prefix = new Uint8Array(PREFIX_BYTES);
  #prefixFilled = 0;
  /** Of the message that is coming in; undefined while its prefix is. */
  #length: number | undefined;
  #message: Uint8Array = EMPTY_BYTES;
  #filled = 0;
  readonly #budget: ByteBudget;
  readonly #share: BudgetShare;

  /** `budget` is for messages of which a part has come. */
  constructor(messageBytes: number, budget: ByteBudget) {
    this.#messageBytes = messageBytes;
    this.#budget = budget;
    this.#share = budget.share();
  }

  /** What has come of a message is dropped. Nothing may be pushed afterwards. */
  release(): void {
    this.#message = EMPTY_BYTES;
    this.#share.hold(0);
  }

  /** True between two messages: nothing of another has come. */
  get whole(): boolean {
    return this.#prefixFilled === 0;
  }

  /** The messages that `chunk` completes, in order. Throws `GrpcStatus` for one that is refused. */
  push(chunk: Uint8Array): Uint8Array[] {
    const messages: Uint8Array[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.#length === undefined) {
        at += this.#takePrefix(chunk, at);
        if (this.#prefixFilled < PREFIX_BYTES) break;
        this.#length = this.#announced();
        this.#message = new Uint8Array(Math.min(this.#length, Math.max(FIRST_BYTES, chunk.length - at)));
        this.#filled = 0;
      }
      at += this.#takeContent(chunk, at, this.#length);
      if (this.#filled < this.#length) {
        this.#share.hold(this.#message.length);
        if (this.#budget.spent) throw new GrpcStatus(GrpcCode.RESOURCE_EXHAUSTED, TOO_MUCH_COMES);
        break;
      }
      this.#share.hold(0);
      messages.push(this.#message);
      this.#message = EMPTY_BYTES;
      this.#length = undefined;
      this.#prefixFilled = 0;
    }
    return messages;
  }

  #takePrefix(chunk: Uint8Array, at: number): number {
    const taken = Math.min(PREFIX_BYTES - this.#prefixFilled, chunk.length - at);
    for (let i = 0; i < taken; i++) this.#prefix[this.#prefixFilled++] = chunk[at + i] as number;
    return taken;
  }

  #takeContent(chunk: Uint8Array, at: number, length: number): number {
    const part = chunk.subarray(at, at + length - this.#filled);
    const filled = this.#filled + part.length;
    if (filled > this.#message.length) {
      const larger = new Uint8Array(Math.min(length, Math.max(2 * this.#message.length, filled)));
      larger.set(this.#message.subarray(0, this.#filled));
      this.#message = larger;
    }
    this.#message.set(part, this.#filled);
    this.#filled = filled;
    return part.length;
  }

  /** The length that the prefix says. */
  #announced(): number {
    const [flag = 0, a = 0, b = 0, c = 0, d = 0] = this.#prefix;
    if (flag === COMPRESSED) {
      throw new GrpcStatus(GrpcCode.INTERNAL, 'grpc: compressed flag set with identity or empty encoding');
    }
    if (flag !== 0) {
      throw new GrpcStatus(GrpcCode.INTERNAL, `grpc: received unexpected payload format ${flag}`);
    }
    const length = a * 0x100_0000 + ((b << 16) | (c << 8) | d);
    if (length > this.#messageBytes) {
      const text = `grpc: received message larger than max (${length} vs. ${this.#messageBytes})`;
      throw new GrpcStatus(GrpcCode.RESOURCE_EXHAUSTED, text);
    }
    return length;
  }
}
