import type { Timer } from '@muster/base';
import type { NodeId } from '@muster/raft';
import type { PeerEnv } from './env.ts';
import { FramedSocket, type SocketEnd } from './framed-socket.ts';
import { FRAME, type Frame, frameHead, frameOf } from './frames.ts';
import { decodeAnswer } from './handshake.ts';
import { openSocket } from './open-socket.ts';
import { helloTo } from './outbound.ts';
import type { PeerAddress } from './peer-url.ts';
import type { SnapshotSource } from './snapshot-files.ts';
import { decodeSnapshotResult, encodeSnapshotHead, type SnapshotMessage } from './snapshot-receiver.ts';

/** Streams one image over a connection of its own. `send` settles once the receiver has said how it went. */
export class SnapshotSender {
  readonly #env: PeerEnv;
  readonly #to: NodeId;
  readonly #name: string;
  readonly #message: SnapshotMessage;
  #link: FramedSocket | undefined;
  #stall: Timer | undefined;
  /** What the running step waits for; settled by a frame, by the connection's end or by silence. */
  #waiting:
    | { readonly resolve: (frame: Frame | undefined) => void; readonly reject: (error: Error) => void }
    | undefined;
  #failure: Error | undefined;
  #early: Frame | undefined;

  constructor(env: PeerEnv, to: NodeId, message: SnapshotMessage, name: string) {
    this.#env = env;
    this.#to = to;
    this.#message = message;
    this.#name = name;
  }

  async send(address: PeerAddress | string): Promise<void> {
    const source = await this.#env.snapshots.openRead(this.#name);
    try {
      await this.#transfer(source, address);
    } finally {
      if (this.#stall) this.#env.clock.cancel(this.#stall);
      this.#link?.destroy();
      await source.close();
    }
  }

  abort(reason: string): void {
    this.#fail(new Error(reason));
  }

  async #transfer(source: SnapshotSource, address: PeerAddress | string): Promise<void> {
    if (this.#failure) throw this.#failure;
    const env = this.#env;
    this.#link = new FramedSocket(openSocket(address, env), env.clock, env.limits, {
      onFrame: (frame) => this.#onFrame(frame),
      onEnd: (end) => this.#fail(new Error(`the connection ended: ${textOf(end)}`)),
    });
    this.#progress();
    this.#link.write(helloTo(this.#to, 'snapshot', env));
    const answer = decodeAnswer(await this.#nextFrame());
    if (answer.type === 'refused') throw new Error(`refused: ${answer.refusal.reason}`);
    this.#link.trust();
    this.#link.write(encodeSnapshotHead({ name: this.#name, size: source.size, message: this.#message }));
    for (;;) {
      const chunk = await source.read(env.limits.snapshotChunkBytes);
      if (chunk.length === 0) break;
      await this.#write(this.#link, chunk);
    }
    this.#link.write(frameOf(FRAME.snapshotEnd));
    const problem = decodeSnapshotResult(await this.#nextFrame());
    if (problem !== '') throw new Error(`the receiver refused the snapshot: ${problem}`);
  }

  async #write(link: FramedSocket, chunk: Uint8Array): Promise<void> {
    if (this.#failure) throw this.#failure;
    if (this.#early)
      throw new Error(`the receiver refused the snapshot: ${decodeSnapshotResult(this.#early)}`);
    link.write(frameHead(FRAME.snapshotChunk, chunk));
    if (link.write(chunk)) return;
    link.onceDrained(() => this.#wake(undefined));
    const frame = await this.#wait();
    if (frame) throw new Error(`the receiver refused the snapshot: ${decodeSnapshotResult(frame)}`);
    this.#progress();
  }

  /** The receiver speaks twice: its answer to the handshake, and the result, which may come at any time. */
  async #nextFrame(): Promise<Frame> {
    for (;;) {
      const frame = this.#early ?? (await this.#wait());
      this.#early = undefined;
      this.#progress();
      if (frame) return frame;
    }
  }

  #wait(): Promise<Frame | undefined> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  #onFrame(frame: Frame): void {
    if (this.#waiting) this.#wake(frame);
    else this.#early = frame;
  }

  #wake(frame: Frame | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve(frame);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(this.#failure);
  }

  #progress(): void {
    const { clock, limits } = this.#env;
    if (this.#stall) clock.cancel(this.#stall);
    this.#stall = clock.schedule(limits.snapshotStallMs, () => this.#fail(new Error('no progress')));
  }
}

function textOf(end: SocketEnd): string {
  return end.kind === 'goodbye' ? `goodbye, ${end.why}` : end.detail;
}
