import { assert, backoffDelayMs, type Timer } from '@muster/base';
import type { PeerMessage } from '@muster/member';
import type { NodeId } from '@muster/raft';
import { ByteReader, type ByteWriter } from './bytes.ts';
import { encodePeerMessage, peerMessageBytes } from './codec.ts';
import type { PeerEnv } from './env.ts';
import { FramedSocket, type SocketEnd } from './framed-socket.ts';
import { beginFrame, endFrame, FRAME, type Frame, frameOf } from './frames.ts';
import {
  type ConnectionKind,
  decodeAnswer,
  encodeHello,
  type Goodbye,
  idText,
  PROTOCOL_VERSION,
  PROTOCOL_VERSION_MIN,
} from './handshake.ts';
import { openSocket } from './open-socket.ts';
import { type PeerAddress, peerAddressOf } from './peer-url.ts';

/** What can be read off one peer's outgoing connection. */
export type PeerStats = {
  readonly peer: NodeId;
  readonly connected: boolean;
  /** Since the start, over all connections. */
  readonly sentBytes: number;
  readonly sentMessages: number;
  readonly droppedMessages: number;
  readonly queuedBytes: number;
  /** The last measured round trip. */
  readonly roundTripMs: number | undefined;
};

/** Wait for a moment to dial; shake hands; carry messages. `closed` is for good. */
type State =
  | { readonly at: 'waiting'; readonly timer: Timer }
  | { readonly at: 'dialing'; readonly link: FramedSocket; readonly timer: Timer }
  | { readonly at: 'up'; readonly link: FramedSocket; readonly sinceMs: number; readonly queue: Queue }
  | { readonly at: 'closed' };

/** What waits on one connection: being batched, or written and not yet taken by the kernel. */
type Queue = {
  bytes: number;
  messages: number;
  batch: ByteWriter | undefined;
  batchMessages: number;
  flushing: boolean;
};

/** The last thing that was said about a peer, so that it is said once. */
type Reported = 'nothing' | 'connected' | 'silent' | 'gone';

/** The connection that this member dials to one peer, and keeps dialling: everything sent to the peer goes here. */
export class Outbound {
  readonly peer: NodeId;
  readonly #env: PeerEnv;
  #addresses: readonly (PeerAddress | string)[];
  #urls: readonly string[];
  /** Where the last dial went. */
  #dialledUrl = '';
  #state: State;
  #reported: Reported = 'nothing';
  #attempt = 0;
  #dials = 0;
  #problem = '';
  #ping = { number: 0, sentMs: 0 };
  #roundTripMs: number | undefined;
  #sent = { bytes: 0, messages: 0, dropped: 0 };

  constructor(peer: NodeId, urls: readonly string[], env: PeerEnv) {
    this.peer = peer;
    this.#env = env;
    this.#addresses = addressesOf(urls);
    this.#urls = urls;
    this.#state = { at: 'waiting', timer: env.clock.schedule(0, () => this.#dial()) };
  }

  /** A connection to where the peer is said to be no longer is given up. */
  setUrls(urls: readonly string[]): void {
    if (urls.join() === this.#urls.join()) return;
    this.#addresses = addressesOf(urls);
    this.#urls = urls;
    if (this.#state.at !== 'up' || urls.includes(this.#dialledUrl)) return;
    this.#state.link.goodbye('reconnect');
    this.#down({ kind: 'lost', detail: 'its peer URLs changed' });
  }

  get address(): PeerAddress | string {
    return this.#addresses[this.#dials % this.#addresses.length] as PeerAddress | string;
  }

  get connectedForMs(): number | undefined {
    return this.#state.at === 'up' ? this.#env.clock.nowMs() - this.#state.sinceMs : undefined;
  }

  stats(): PeerStats {
    const state = this.#state;
    return {
      peer: this.peer,
      connected: state.at === 'up',
      sentBytes: this.#sent.bytes,
      sentMessages: this.#sent.messages,
      droppedMessages: this.#sent.dropped,
      queuedBytes: state.at === 'up' ? state.queue.bytes : 0,
      roundTripMs: this.#roundTripMs,
    };
  }

  /** Encodes at once; the batch leaves when the running turn ends, in one write. */
  send(message: PeerMessage): boolean {
    const { limits } = this.#env;
    if (this.#state.at !== 'up') return this.#drop();
    const { queue } = this.#state;
    const bound = peerMessageBytes(message);
    if (bound + 16 > limits.frameBytes) return this.#drop();
    if (queue.messages >= limits.queueMessages || queue.bytes + bound > limits.queueBytes)
      return this.#drop();
    queue.batch ??= beginFrame(FRAME.batch, bound + 512);
    const writer = queue.batch;
    const start = writer.length;
    writer.u32(0);
    encodePeerMessage(writer, message);
    writer.setU32(start, writer.length - start - 4);
    queue.bytes += writer.length - start;
    queue.messages++;
    queue.batchMessages++;
    if (writer.length >= limits.batchBytes) this.#flush();
    else if (!queue.flushing) {
      queue.flushing = true;
      queueMicrotask(() => {
        queue.flushing = false;
        this.#flush();
      });
    }
    return true;
  }

  /** Called at `pingMs` intervals: gives up a peer that has been silent, asks the others for a sign. */
  tick(nowMs: number): void {
    if (this.#state.at !== 'up') return;
    const { link } = this.#state;
    const silentMs = nowMs - link.lastHeardMs;
    if (silentMs >= this.#env.limits.silenceMs) {
      link.goodbye('silent');
      this.#down({ kind: 'lost', detail: `silent for ${Math.round(silentMs)} ms` });
      return;
    }
    const number = this.#ping.number + 1;
    this.#ping = { number, sentMs: nowMs };
    link.write(frameOf(FRAME.ping, (writer) => writer.varint(number)));
  }

  /** This process itself stood still: silence meanwhile says nothing about the peer. */
  forgiveSilence(nowMs: number): void {
    if (this.#state.at === 'up') this.#state.link.lastHeardMs = nowMs;
  }

  /** The connection that the peer had dialled to us broke, so its process is gone: say so, and find out. */
  suspect(detail: string): void {
    if (this.#state.at === 'up') {
      this.#state.link.goodbye('reconnect');
      this.#down({ kind: 'gone', detail });
    } else {
      this.#report('gone');
    }
  }

  close(why: Goodbye, closed: () => void): void {
    const state = this.#state;
    this.#flush();
    this.#state = { at: 'closed' };
    if (state.at === 'waiting' || state.at === 'dialing') this.#env.clock.cancel(state.timer);
    if (state.at === 'dialing') state.link.destroy();
    if (state.at === 'up') {
      state.link.goodbye(why);
      state.link.onceClosed(closed);
    } else {
      this.#env.clock.defer(closed);
    }
  }

  #drop(): boolean {
    this.#sent.dropped++;
    return false;
  }

  #flush(): void {
    if (this.#state.at !== 'up') return;
    const { link, queue } = this.#state;
    if (queue.batch === undefined) return;
    const frame = endFrame(queue.batch);
    const messages = queue.batchMessages;
    // The frame's header and the batch's own bytes: what was added to the queue is taken off again.
    const bytes = frame.length - BATCH_OVERHEAD;
    queue.batch = undefined;
    queue.batchMessages = 0;
    this.#sent.bytes += frame.length;
    this.#sent.messages += messages;
    link.write(frame, () => {
      queue.bytes -= bytes;
      queue.messages -= messages;
      assert(queue.bytes >= 0 && queue.messages >= 0, () => `queue of ${queue.bytes} B, ${queue.messages}`);
    });
  }

  #dial(): void {
    const { clock, limits } = this.#env;
    this.#dialledUrl = this.#urls[this.#dials % this.#urls.length] ?? '';
    const socket = openSocket(this.address, this.#env);
    const link = new FramedSocket(socket, clock, limits, {
      onFrame: (frame) => this.#onFrame(frame),
      onEnd: (end) => this.#down(end),
    });
    const timer = clock.schedule(limits.dialMs + limits.handshakeMs, () => {
      link.destroy();
      this.#down({ kind: 'lost', detail: 'no answer to the dial' });
    });
    this.#state = { at: 'dialing', link, timer };
    link.write(helloTo(this.peer, 'messages', this.#env));
  }

  #onFrame(frame: Frame): void {
    const state = this.#state;
    if (state.at === 'dialing') this.#onAnswer(frame, state);
    if (state.at !== 'up' || frame.type !== FRAME.pong) return;
    const number = new ByteReader(frame.payload).varint();
    if (number !== this.#ping.number) return;
    this.#roundTripMs = this.#env.clock.nowMs() - this.#ping.sentMs;
    this.#env.onRoundTrip(this.peer, this.#roundTripMs);
  }

  #onAnswer(frame: Frame, state: State & { at: 'dialing' }): void {
    const { clock, log } = this.#env;
    const answer = decodeAnswer(frame);
    if (answer.type === 'refused') {
      const { code, reason } = answer.refusal;
      state.link.destroy();
      if (code === 'removed-sender') this.#env.emit({ type: 'removed', by: this.peer });
      // Who is a member changes while a cluster runs; what else is refused will be refused again.
      const delayMs = code === 'unknown-sender' ? undefined : this.#env.limits.refusedRedialMs;
      this.#down({ kind: 'lost', detail: `refused: ${reason}` }, delayMs);
      return;
    }
    clock.cancel(state.timer);
    state.link.trust();
    const queue: Queue = { bytes: 0, messages: 0, batch: undefined, batchMessages: 0, flushing: false };
    this.#state = { at: 'up', link: state.link, sinceMs: clock.nowMs(), queue };
    this.#problem = '';
    log.info({ peer: idText(this.peer), version: answer.welcome.serverVersion }, 'connected to peer');
    this.#report('connected');
  }

  /** The connection is over, or there was none; the next dial follows after `delayMs` or the backoff's delay. */
  #down(end: SocketEnd, delayMs?: number): void {
    const state = this.#state;
    if (state.at === 'closed' || state.at === 'waiting') return;
    const { clock, limits, log, prng } = this.#env;
    if (state.at === 'dialing') {
      clock.cancel(state.timer);
      this.#dials++;
    } else if (clock.nowMs() - state.sinceMs >= limits.redialMaxMs) {
      this.#attempt = 0;
    }
    const backoff = { firstMs: limits.redialFirstMs, maxMs: limits.redialMaxMs };
    const wait = delayMs ?? (this.#attempt === 0 ? 0 : backoffDelayMs(backoff, this.#attempt - 1, prng));
    this.#attempt++;
    this.#state = { at: 'waiting', timer: clock.schedule(wait, () => this.#dial()) };
    const detail = end.kind === 'goodbye' ? `goodbye: ${end.why}` : end.detail;
    // Once when it goes down, and once for every refusal, which says more; not for each dial that fails meanwhile.
    const isNews = this.#problem === '' || (detail.startsWith('refused: ') && detail !== this.#problem);
    if (isNews) log.warn({ peer: idText(this.peer), reason: detail }, 'no connection to peer');
    if (isNews) this.#problem = detail;
    const gone = end.kind === 'gone' || (end.kind === 'goodbye' && end.why === 'stopping');
    this.#report(gone ? 'gone' : 'silent');
  }

  #report(what: 'connected' | 'silent' | 'gone'): void {
    const before = this.#reported;
    if (before === what) return;
    if (before === 'connected') this.#env.tallies.disconnected++;
    if (what === 'connected') {
      this.#reported = what;
      this.#env.emit({ type: 'connected', peer: this.peer });
    } else if (before === 'connected' || what === 'gone') {
      this.#reported = what;
      this.#env.emit({ type: 'disconnected', peer: this.peer, reset: what === 'gone' });
    }
  }
}

const BATCH_OVERHEAD = beginFrame(FRAME.batch).length;

export function helloTo(to: NodeId, kind: ConnectionKind, env: PeerEnv): Uint8Array {
  const { clusterId, id, serverVersion } = env.self;
  const versions = { versionMin: PROTOCOL_VERSION_MIN, versionMax: PROTOCOL_VERSION };
  return encodeHello({ ...versions, kind, clusterId, from: id, to, serverVersion, urls: env.urls() });
}

/** What is wrong with a URL comes when it is dialled. */
function addressesOf(urls: readonly string[]): (PeerAddress | string)[] {
  return urls.length > 0 ? urls.map(peerAddressOf) : ['the peer has no URL'];
}
