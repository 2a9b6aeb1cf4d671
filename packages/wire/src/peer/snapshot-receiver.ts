import type { Timer } from '@muster/base';
import type { Message, NodeId } from '@muster/raft';
import { ByteReader, MalformedFrame } from './bytes.ts';
import { decodeRaftMessage, encodeRaftMessage } from './codec.ts';
import type { PeerEnv } from './env.ts';
import type { FramedSocket, SocketEnd } from './framed-socket.ts';
import { FRAME, type Frame, frameOf } from './frames.ts';
import { idText } from './handshake.ts';
import { PEER_LIMITS } from './limits.ts';
import type { SnapshotSink } from './snapshot-files.ts';

export type SnapshotMessage = Message & { readonly type: 'snapshot' };

/** What comes first on a snapshot's connection. */
type SnapshotHead = {
  readonly name: string;
  readonly size: number;
  readonly message: SnapshotMessage;
};

/** A name becomes a file name at the receiver, so it may not be anything that walks out of a directory. */
const SAFE_NAME = /^[0-9A-Za-z_][0-9A-Za-z_.-]{0,199}$/;

export function encodeSnapshotHead(head: SnapshotHead): Uint8Array {
  return frameOf(FRAME.snapshotHead, (writer) => {
    writer.text(head.name);
    writer.varint(head.size);
    encodeRaftMessage(writer, head.message);
  });
}

function decodeSnapshotHead(frame: Frame): SnapshotHead {
  if (frame.type !== FRAME.snapshotHead)
    throw new MalformedFrame(`expected a snapshot, got frame ${frame.type}`);
  const reader = new ByteReader(frame.payload);
  const name = reader.text(PEER_LIMITS.textBytes);
  if (!SAFE_NAME.test(name)) throw new MalformedFrame(`unsafe snapshot name ${JSON.stringify(name)}`);
  const size = reader.varint();
  const message = decodeRaftMessage(reader);
  reader.end();
  if (message.type !== 'snapshot')
    throw new MalformedFrame(`expected a snapshot message, got ${message.type}`);
  return { name, size, message };
}

/** An empty text says that the snapshot arrived whole; anything else says what was wrong. */
function encodeSnapshotResult(problem: string): Uint8Array {
  return frameOf(FRAME.snapshotResult, (writer) => writer.text(problem.slice(0, PEER_LIMITS.textBytes / 4)));
}

export function decodeSnapshotResult(frame: Frame): string {
  if (frame.type !== FRAME.snapshotResult)
    throw new MalformedFrame(`expected a result, got frame ${frame.type}`);
  return new ByteReader(frame.payload).text(PEER_LIMITS.textBytes);
}

/**
 * Takes one snapshot in. Frames are worked off one after the other; the socket is paused while any waits, so that a
 * fast sender cannot fill this process's memory.
 */
export class SnapshotReceiver {
  readonly #env: PeerEnv;
  readonly #from: NodeId;
  readonly #link: FramedSocket;
  readonly #finished: () => void;
  readonly #frames: Frame[] = [];
  #working = false;
  #over = false;
  #head: SnapshotHead | undefined;
  #sink: SnapshotSink | undefined;
  #received = 0;
  #stall: Timer;

  constructor(env: PeerEnv, from: NodeId, link: FramedSocket, finished: () => void) {
    this.#env = env;
    this.#from = from;
    this.#link = link;
    this.#finished = finished;
    this.#stall = env.clock.schedule(env.limits.snapshotStallMs, () => this.abort('no progress'));
    link.handleWith({
      onFrame: (frame) => this.#onFrame(frame),
      onEnd: (end) => this.#onEnd(end),
    });
  }

  /** Gives the transfer up and tells the sender why. */
  abort(reason: string): void {
    if (this.#over) return;
    this.#link.endWith(encodeSnapshotResult(reason));
    this.#end(reason);
    if (!this.#working) void this.#discard();
  }

  #onFrame(frame: Frame): void {
    this.#frames.push(frame);
    this.#link.pause();
    if (!this.#working) void this.#work();
  }

  async #work(): Promise<void> {
    this.#working = true;
    try {
      for (let frame = this.#frames.shift(); frame && !this.#over; frame = this.#frames.shift()) {
        await this.#take(frame);
        this.#env.clock.cancel(this.#stall);
        if (this.#over) break;
        this.#stall = this.#env.clock.schedule(this.#env.limits.snapshotStallMs, () =>
          this.abort('no progress'),
        );
      }
      if (!this.#over) this.#link.resume();
    } catch (error) {
      this.abort(error instanceof Error ? error.message : String(error));
    } finally {
      this.#working = false;
      if (this.#over) await this.#discard();
    }
  }

  async #take(frame: Frame): Promise<void> {
    if (this.#head === undefined) {
      const head = decodeSnapshotHead(frame);
      if (head.message.from !== this.#from || head.message.to !== this.#env.self.id) {
        throw new MalformedFrame('the snapshot message is not from this sender to this member');
      }
      this.#head = head;
      this.#sink = await this.#env.snapshots.receive(head.name, head.size);
    } else if (frame.type === FRAME.snapshotChunk) {
      this.#received += frame.payload.length;
      if (this.#received > this.#head.size) throw new MalformedFrame('more bytes than were announced');
      await this.#sink?.write(frame.payload);
    } else if (frame.type === FRAME.snapshotEnd) {
      await this.#complete(this.#head);
    } else {
      throw new MalformedFrame(`a frame of type ${frame.type} within a snapshot`);
    }
  }

  async #complete(head: SnapshotHead): Promise<void> {
    if (this.#received !== head.size) {
      throw new MalformedFrame(`${this.#received} bytes came in, ${head.size} were announced`);
    }
    // However it ends, nothing is left to abort.
    const sink = this.#sink;
    this.#sink = undefined;
    await sink?.finish();
    if (this.#over) return;
    this.#link.endWith(encodeSnapshotResult(''));
    this.#end(undefined);
    const fields = { from: idText(this.#from), name: head.name, bytes: head.size };
    this.#env.log.info(fields, 'snapshot received');
    const event = {
      type: 'snapshotReceived',
      from: this.#from,
      name: head.name,
      message: head.message,
    } as const;
    this.#env.clock.defer(() => this.#env.emit(event));
  }

  #onEnd(end: SocketEnd): void {
    const detail = end.kind === 'goodbye' ? end.why : end.detail;
    this.#end(detail);
    if (!this.#working) void this.#discard();
  }

  #end(problem: string | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#env.clock.cancel(this.#stall);
    this.#frames.length = 0;
    if (problem !== undefined) {
      this.#env.tallies.snapshotsLost++;
      const fields = { from: idText(this.#from), name: this.#head?.name, reason: problem };
      this.#env.log.warn(fields, 'snapshot transfer failed');
    }
    this.#finished();
  }

  async #discard(): Promise<void> {
    const sink = this.#sink;
    this.#sink = undefined;
    try {
      await sink?.abort();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#env.log.warn({ name: this.#head?.name, reason }, 'leftover of a snapshot transfer');
    }
  }
}
