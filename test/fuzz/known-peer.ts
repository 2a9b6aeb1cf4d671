/** A transport of this process, and one that it takes for a member: right messages, then frames that are not. */
import { connect, type Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { Prng } from '@muster/base';
import type { PeerMessage } from '@muster/member';
import { ByteWriter } from '../../packages/wire/src/peer/bytes.ts';
import { encodePeerMessage } from '../../packages/wire/src/peer/codec.ts';
import { FRAME, FrameReader, frameOf } from '../../packages/wire/src/peer/frames.ts';
import { encodeHello } from '../../packages/wire/src/peer/handshake.ts';
import { encodeSnapshotHead } from '../../packages/wire/src/peer/snapshot-receiver.ts';
import { Station } from '../../packages/wire/src/peer/test-support.ts';
import { joined, mutateBytes, randomBytes } from './mutate.ts';
import { peerMessage } from './peer-messages.ts';
import { answered, Violation } from './target.ts';

const SELF = 2n;
const SENDER = 1n;
const CLUSTER = 7n;
const FRAME_MAX = 1 << 20;
/** Nobody listens there. */
const NOWHERE = 'http://127.0.0.1:1';

type Kind = 'messages' | 'snapshot';

export class KnownPeer {
  readonly #station: Station;
  /** One at a time: a newer connection of a member takes the place of the one before. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(station: Station) {
    this.#station = station;
    station.transport.setPeers(new Map([[SENDER, [NOWHERE]]]));
  }

  static async open(): Promise<KnownPeer> {
    return new KnownPeer(await Station.open(SELF, { limits: { handshakeMs: 500, snapshotStallMs: 300 } }));
  }

  run(prng: Prng): Promise<string> {
    const mine = this.#last.then(() => (prng.chance(0.7) ? this.#messages(prng) : this.#snapshot(prng)));
    this.#last = mine.catch(() => {});
    return mine;
  }

  close(): void {
    void this.#station.close();
  }

  /** All that was right arrives as it was sent, whatever follows it; then the next connection is served as ever. */
  async #messages(prng: Prng): Promise<string> {
    const { events } = this.#station;
    events.length = 0;
    const right = Array.from({ length: prng.int(0, 6) }, () => peerMessage(prng, SENDER, SELF));
    const link = await this.#dial('messages');
    if (right.length > 0) link.socket.write(batch(right));
    for (let n = prng.int(0, 4); n > 0; n--) link.socket.write(oddFrame(prng));
    const arrived = () => events.flatMap((event) => (event.type === 'message' ? [event.message] : []));
    const all = this.#station.until(() => arrived().length >= right.length);
    await answered(all, `${right.length} messages, got ${arrived().length}`);
    const got = arrived().slice(0, right.length);
    if (!isDeepStrictEqual(JSON.parse(text(got)), JSON.parse(text(right))))
      throw new Violation(`sent ${text(right)}, got ${text(got)}`);
    for (const message of arrived()) {
      if (message.type !== 'raft') continue;
      const { from, to } = message.message;
      if (from !== SENDER || to !== SELF) throw new Violation(`handed out: ${text([message])}`);
    }
    const end = await link.settled(prng.pick([0, 5]));
    await this.#stillServes(prng);
    return `messages ${end}`;
  }

  /** A snapshot with something wrong, or nothing; a result comes, or the connection ends. */
  async #snapshot(prng: Prng): Promise<string> {
    const image = randomBytes(prng, 3000);
    const name = prng.chance(0.8) ? 's-1.snap' : prng.pick(['', '..', '../x', 'a/b', '\0', 'x'.repeat(300)]);
    const message = peerMessage(prng, prng.chance(0.9) ? SENDER : 9n, SELF);
    const link = await this.#dial('snapshot');
    const confState = { voters: [1n], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
    const snapshot = {
      type: 'snapshot',
      from: SENDER,
      to: SELF,
      term: 3,
      snapshot: { index: 9, term: 2, confState },
    };
    const said = message.type === 'raft' && prng.chance(0.3) ? message.message : snapshot;
    const size = prng.chance(0.8) ? image.length : prng.pick([0, 1, 2 ** 40, image.length + 1]);
    const head = encodeSnapshotHead({ name, size, message: said as never });
    const chunk = frameOf(FRAME.snapshotChunk, (writer) => writer.raw(image));
    const frames = [head, chunk, frameOf(FRAME.snapshotEnd)];
    let broken = false;
    for (const frame of frames) {
      const odd = prng.chance(0.15);
      broken ||= odd;
      link.socket.write(odd ? oddFrame(prng) : frame);
    }
    // What is cut short waits for more; what is whole is answered.
    const end = await link.settled(broken || size !== image.length ? 5 : 200);
    this.#station.snapshots.images.clear();
    this.#station.snapshots.log.length = 0;
    await this.#stillServes(prng);
    return `snapshot ${end}`;
  }

  async #stillServes(prng: Prng): Promise<void> {
    const link = await this.#dial('messages');
    const nonce = randomBytes(prng, 30);
    link.socket.write(frameOf(FRAME.ping, (writer) => writer.raw(nonce)));
    const { payload } = await link.frame(FRAME.pong);
    if (Buffer.compare(payload, nonce) !== 0) throw new Violation('the pong is not that of the ping');
    link.socket.destroy();
    this.#station.logged.length = 0;
  }

  async #dial(kind: Kind): Promise<Link> {
    const link = new Link(connect(this.#station.port, '127.0.0.1'));
    const versions = { versionMin: 1, versionMax: 1, serverVersion: 'x', urls: [] };
    link.socket.write(encodeHello({ ...versions, kind, clusterId: CLUSTER, from: SENDER, to: SELF }));
    const { type } = await link.frame(FRAME.welcome, FRAME.refuse);
    // The receiver of the snapshot before may not have noticed yet that its connection is gone.
    if (type === FRAME.welcome) return link;
    link.socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 5));
    return this.#dial(kind);
  }
}

type Got = { readonly type: number; readonly payload: Uint8Array };

/** One connection, and the frames that come back. */
class Link {
  readonly socket: Socket;
  readonly #frames: Got[] = [];
  readonly #closed: Promise<unknown>;
  #changed = (): void => {};

  constructor(socket: Socket) {
    this.socket = socket;
    const reader = new FrameReader(FRAME_MAX);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      reader.push(chunk, ({ type, payload }) => {
        this.#frames.push({ type, payload: payload.slice() });
        return true;
      });
      this.#changed();
    });
    // Not `once`, which rejects: connections may end in an error.
    this.#closed = new Promise((resolve) => socket.once('close', resolve));
  }

  async frame(...types: readonly number[]): Promise<Got> {
    const found = () => this.#frames.find(({ type }) => types.includes(type));
    const come = new Promise<void>((resolve) => {
      this.#changed = () => found() && resolve();
      this.#changed();
    });
    await answered(Promise.race([come, this.#closed]), `a frame of type ${types}`);
    const frame = found();
    if (frame === undefined) throw new Violation(`closed before a frame of type ${types}`);
    return frame;
  }

  /** How it ended, or that it was left after `ms`. */
  async settled(ms: number): Promise<string> {
    const late = new Promise((resolve) => setTimeout(resolve, ms, 'left'));
    const ended = this.#closed.then(() => 'closed');
    const end = await Promise.race([ended, late]);
    this.socket.destroy();
    return `${end} after ${this.#frames.map(({ type }) => type).join()}`;
  }
}

function batch(messages: readonly PeerMessage[]): Uint8Array {
  return frameOf(FRAME.batch, (writer) => {
    for (const message of messages) {
      const bytes = encodedMessage(message);
      writer.u32(bytes.length);
      writer.raw(bytes);
    }
  });
}

function encodedMessage(message: PeerMessage): Uint8Array {
  const writer = new ByteWriter();
  encodePeerMessage(writer, message);
  return writer.finish();
}

/** A batch with something wrong in it, a frame out of place, or no frame. */
function oddFrame(prng: Prng): Uint8Array {
  const kind = prng.float();
  if (kind < 0.1) return randomBytes(prng, 200);
  const whole = batch([peerMessage(prng, SENDER, SELF), peerMessage(prng, SENDER, SELF)]);
  if (kind < 0.2) return mutateBytes(prng, whole);
  if (kind < 0.4) {
    const type = prng.pick(Object.values(FRAME));
    return frameOf(type, (writer) => writer.raw(randomBytes(prng, 200)));
  }
  const payload = mutateBytes(prng, whole.subarray(9));
  return frameOf(FRAME.batch, (writer) => writer.raw(joined(payload)));
}

/** Bytes and 64-bit numbers in hex, to be compared and shown. */
function text(messages: readonly PeerMessage[]): string {
  return JSON.stringify(messages, function (this: Record<string, unknown>, key: string, value: unknown) {
    const own = this[key];
    if (own instanceof Uint8Array) return Buffer.from(own).toString('hex');
    return typeof value === 'bigint' ? value.toString(16) : value;
  });
}
