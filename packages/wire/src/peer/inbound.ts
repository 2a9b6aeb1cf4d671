import type { Socket } from 'node:net';
import type { Timer } from '@muster/base';
import type { PeerMessage } from '@muster/member';
import type { NodeId } from '@muster/raft';
import { MalformedFrame } from './bytes.ts';
import { checkQuery } from './cluster-info.ts';
import { decodePeerMessage } from './codec.ts';
import type { PeerEnv } from './env.ts';
import { FramedSocket, type SocketEnd } from './framed-socket.ts';
import { batchMessages, FRAME, type Frame, frameOf } from './frames.ts';
import {
  decodeHello,
  encodeRefusal,
  encodeWelcome,
  type Goodbye,
  type Hello,
  idText,
  type Refusal,
  refusalOf,
  versionSpokenWith,
} from './handshake.ts';
import { SnapshotReceiver } from './snapshot-receiver.ts';

/** What the acceptor asks of the transport. */
type InboundHost = {
  readonly env: PeerEnv;
  standing(sender: NodeId): 'member' | 'removed' | 'unknown';
  /** A caller of the same cluster that is not known yet; false refuses it. */
  acquaint(stranger: NodeId, urls: readonly string[]): boolean;
  /** The connection on which a sender's messages came is over. */
  onSenderGone(sender: NodeId): void;
  /** The answer to a query. */
  clusterInfo(): Uint8Array;
  /** The peer's own connection to us ended without a goodbye, or with one that says it stops. */
  onPeerGone(peer: NodeId, detail: string): void;
};

/** Pongs are not queued behind a peer that does not read them. */
const PONG_BACKLOG_BYTES = 64 * 1024;
/** Senders whose last refusal is remembered, so that it is logged once. */
const REFUSALS_REMEMBERED = 64;

/** The connections that peers dialled to this member: it reads them, and writes only handshakes and pongs. */
export class Inbound {
  readonly #host: InboundHost;
  readonly #pending = new Map<FramedSocket, Timer>();
  readonly #bySender = new Map<NodeId, FramedSocket>();
  readonly #receivers = new Map<NodeId, SnapshotReceiver>();
  readonly #refused = new Map<string, string>();
  #received = 0;
  /** Callers from before it was known who the members are: answered by the first `retain`. */
  #early: (() => void)[] | undefined = [];

  constructor(host: InboundHost) {
    this.#host = host;
  }

  /** Bytes of messages received since the start. */
  get receivedBytes(): number {
    let bytes = this.#received;
    for (const link of this.#bySender.values()) bytes += link.bytesRead;
    return bytes;
  }

  accept(socket: Socket): void {
    const { env } = this.#host;
    if (this.#pending.size >= env.limits.pendingHandshakes) {
      socket.on('error', () => socket.destroy());
      socket.destroy();
      return;
    }
    const link: FramedSocket = new FramedSocket(socket, env.clock, env.limits, {
      onFrame: (frame) => this.#onHello(link, frame),
      onEnd: (end) => {
        this.#settle(link);
        if (end.kind === 'malformed')
          this.#logRefusal(link.remoteText, { code: 'malformed', reason: end.detail });
      },
    });
    const timer = env.clock.schedule(env.limits.handshakeMs, () => {
      this.#pending.delete(link);
      link.destroy();
    });
    this.#pending.set(link, timer);
  }

  /** Called at `pingMs` intervals: closes what has been silent for too long. */
  tick(nowMs: number): void {
    const { silenceMs } = this.#host.env.limits;
    for (const [sender, link] of this.#bySender) {
      if (nowMs - link.lastHeardMs >= silenceMs) this.#drop(sender, link, 'silent');
    }
  }

  forgiveSilence(nowMs: number): void {
    for (const link of this.#bySender.values()) link.lastHeardMs = nowMs;
  }

  /** It is known who the members are now: closes the connections of senders that are none. */
  retain(knows: (sender: NodeId) => boolean): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const answer of early) answer();
    for (const [sender, link] of this.#bySender) if (!knows(sender)) this.#drop(sender, link, 'removed');
    for (const [sender, receiver] of this.#receivers) if (!knows(sender)) receiver.abort('removed');
  }

  close(): void {
    for (const [link, timer] of this.#pending) {
      this.#host.env.clock.cancel(timer);
      link.destroy();
    }
    this.#pending.clear();
    for (const [sender, link] of this.#bySender) this.#drop(sender, link, 'stopping');
    for (const receiver of this.#receivers.values()) receiver.abort('this member is stopping');
  }

  #settle(link: FramedSocket): void {
    const timer = this.#pending.get(link);
    if (timer) this.#host.env.clock.cancel(timer);
    this.#pending.delete(link);
  }

  #onHello(link: FramedSocket, frame: Frame): void {
    const { env } = this.#host;
    if (frame.type === FRAME.query) return this.#onQuery(link, frame);
    const hello = decodeHello(frame);
    if (this.#early) {
      this.#early.push(() => link.over || this.#onHello(link, frame));
      return;
    }
    this.#settle(link);
    const refusal = refusalOf(hello, env.self, () => this.#standing(hello)) ?? this.#busy(hello);
    if (refusal) {
      this.#logRefusal(idText(hello.from), refusal);
      link.endWith(encodeRefusal(refusal));
      return;
    }
    this.#refused.delete(idText(hello.from));
    const { id, serverVersion } = env.self;
    link.write(encodeWelcome({ version: versionSpokenWith(hello), id, serverVersion }));
    link.trust();
    if (hello.kind === 'snapshot') this.#receiveSnapshot(link, hello.from);
    else this.#receiveMessages(link, hello.from);
  }

  #onQuery(link: FramedSocket, frame: Frame): void {
    checkQuery(frame);
    const answer = (): void => {
      this.#settle(link);
      link.endWith(this.#host.clusterInfo());
    };
    if (this.#early) this.#early.push(answer);
    else answer();
  }

  /** A member that lags may not know who was added since, and needs to hear exactly those. */
  #standing({ from, urls }: Hello): 'member' | 'removed' | 'unknown' {
    const standing = this.#host.standing(from);
    if (standing !== 'unknown' || urls.length === 0) return standing;
    return this.#host.acquaint(from, urls) ? 'member' : 'unknown';
  }

  #busy(hello: Hello): Refusal | undefined {
    if (hello.kind !== 'snapshot') return undefined;
    if (this.#receivers.has(hello.from))
      return { code: 'busy', reason: 'a snapshot from this sender is coming in' };
    const { snapshotReceives } = this.#host.env.limits;
    if (this.#receivers.size < snapshotReceives) return undefined;
    return { code: 'busy', reason: `${snapshotReceives} snapshots are being received` };
  }

  #receiveSnapshot(link: FramedSocket, from: NodeId): void {
    const receiver = new SnapshotReceiver(this.#host.env, from, link, () => this.#receivers.delete(from));
    this.#receivers.set(from, receiver);
  }

  /** A newer connection from the same sender replaces the older one: the sender has given that up. */
  #receiveMessages(link: FramedSocket, from: NodeId): void {
    const before = this.#bySender.get(from);
    if (before) this.#drop(from, before, 'replaced');
    this.#bySender.set(from, link);
    link.handleWith({
      onFrame: (frame) => this.#onFrame(link, from, frame),
      onEnd: (end) => this.#onEnd(link, from, end),
    });
  }

  #onFrame(link: FramedSocket, from: NodeId, frame: Frame): void {
    if (frame.type === FRAME.batch) {
      for (const bytes of batchMessages(frame)) {
        const message = this.#checked(decodePeerMessage(bytes), from);
        this.#host.env.emit({ type: 'message', from, message });
        if (link.over) return;
      }
    } else if (frame.type === FRAME.ping) {
      if (link.backlog < PONG_BACKLOG_BYTES)
        link.write(frameOf(FRAME.pong, (writer) => writer.raw(frame.payload)));
    } else {
      throw new MalformedFrame(`a frame of type ${frame.type} among messages`);
    }
  }

  #checked(message: PeerMessage, from: NodeId): PeerMessage {
    if (message.type !== 'raft') return message;
    const { from: says, to } = message.message;
    if (says !== from || to !== this.#host.env.self.id) {
      throw new MalformedFrame(`a message from ${idText(says)} to ${idText(to)} sent by ${idText(from)}`);
    }
    return message;
  }

  #onEnd(link: FramedSocket, from: NodeId, end: SocketEnd): void {
    this.#forget(from, link);
    if (end.kind === 'gone') this.#host.onPeerGone(from, end.detail);
    else if (end.kind === 'goodbye' && end.why === 'stopping') this.#host.onPeerGone(from, 'it is stopping');
    else if (end.kind === 'malformed') {
      this.#host.env.tallies.malformed++;
      this.#host.env.log.warn({ peer: idText(from), reason: end.detail }, 'malformed frame from peer');
    }
  }

  #drop(sender: NodeId, link: FramedSocket, why: Goodbye): void {
    this.#forget(sender, link);
    link.goodbye(why);
  }

  #forget(sender: NodeId, link: FramedSocket): void {
    if (this.#bySender.get(sender) !== link) return;
    this.#bySender.delete(sender);
    this.#received += link.bytesRead;
    this.#host.onSenderGone(sender);
  }

  #logRefusal(who: string, refusal: Refusal): void {
    if (this.#refused.get(who) === refusal.reason) return;
    if (this.#refused.size >= REFUSALS_REMEMBERED) this.#refused.clear();
    this.#refused.set(who, refusal.reason);
    this.#host.env.log.warn({ from: who, ...refusal }, 'peer connection refused');
  }
}
