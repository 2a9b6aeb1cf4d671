/** One WebSocket of the watch protocol. */
import type { IncomingMessage } from 'node:http';
import type { Timer } from '@muster/base';
import {
  type ClientFrame,
  CloseCode,
  encodeFrame,
  type GoawayReason,
  KvError,
  parseClientFrame,
  type ServerFrame,
  WATCH_VERSION,
} from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import type { RawData, WebSocket } from 'ws';
import { textFrame } from '../outbox/framing.ts';
import { Outbox, type Outboxes } from '../outbox/outbox.ts';
import type { ClusterWatch } from '../v1/cluster-state.ts';
import { revisionOf, type V1Context } from '../v1/context.ts';
import { socketToken } from '../v1/credentials.ts';
import { problemOf } from '../v1/errors.ts';
import { makeSubscription, type SessionHooks, type SocketSubscription } from './ws-subscription.ts';

/** Silence of this many heartbeats ends a connection. */
const SILENT_HEARTBEATS = 2.5;
/** Milliseconds that a bookmark waits for every subscription to say how far it is. */
const BOOKMARK_WAIT_MS = 1000;

type SessionDeps = {
  readonly context: V1Context;
  readonly cluster: ClusterWatch;
  readonly outboxes: Outboxes;
  onClosed(session: WsSession): void;
};

type State = 'hello' | 'welcoming' | 'open' | 'closed';

export class WsSession {
  readonly #deps: SessionDeps;
  readonly #context: V1Context;
  readonly #ws: WebSocket;
  readonly #outbox: Outbox;
  readonly #subscriptions = new Map<string, SocketSubscription>();
  readonly #hooks: SessionHooks;
  /** Frames that came before the welcome went out. */
  #early: ClientFrame[] = [];
  #state: State = 'hello';
  #epoch = '';
  #newest = 0;
  #heardAtMs: number;
  #heartbeat: Timer | undefined;
  /** Subscriptions that a bookmark still waits for; `undefined` when none is asked for. */
  #bookmarkAwaits: Set<string> | undefined;
  #bookmarkTimer: Timer | undefined;
  /** Subscriptions whose client asked for its progress alone. */
  readonly #progressAsked = new Set<string>();
  /** Where the next round of refills begins. */
  #turn = 0;
  #closeTimer: Timer | undefined;
  #token: string | undefined;

  constructor(deps: SessionDeps, ws: WebSocket, request: IncomingMessage) {
    this.#deps = deps;
    this.#context = deps.context;
    this.#ws = ws;
    this.#outbox = new Outbox(deps.outboxes, request.socket, {
      limitBytes: this.#context.limits.bufferedBytes,
      onRoom: () => this.#onRoom(),
      isOpen: () => ws.readyState === ws.OPEN,
    });
    this.#heardAtMs = this.#context.clock.nowMs();
    this.#token = socketToken(request);
    this.#hooks = {
      context: this.#context,
      cluster: deps.cluster,
      outbox: this.#outbox,
      call: () => this.#call(),
      onProgress: (id, rev) => this.#progressed(id, rev),
      onEnded: (id) => this.#subscriptions.delete(id),
    };
    ws.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    ws.on('pong', () => this.#heard());
    ws.on('close', () => this.#onClosed());
    ws.on('error', (error) => this.#context.log.debug({ err: error }, 'watch socket failed'));
    this.#scheduleHeartbeat();
  }

  /** Tells the client to reconnect elsewhere, and closes the socket `withinMs` later if the client has not. */
  goaway(reason: GoawayReason, withinMs: number): void {
    if (this.#state === 'closed' || this.#closeTimer) return;
    const afterMs = this.#context.prng.int(0, withinMs);
    this.#control({ t: 'goaway', afterMs, reason });
    const { clock } = this.#context;
    this.#closeTimer = clock.schedule(withinMs, () => this.#close(CloseCode.GOING_AWAY, reason));
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    this.#heard();
    if (this.#state === 'closed') return;
    if (isBinary) {
      this.#refuse('', 'a text frame');
      return;
    }
    const parsed = parseClientFrame(data.toString());
    if (!parsed.ok) {
      this.#refuse(parsed.pointer, parsed.expected);
      return;
    }
    // A client that does not read its answers is not listened to either.
    if (!this.#outbox.hasRoom) this.#ws.pause();
    this.#handle(parsed.frame);
  }

  #handle(frame: ClientFrame): void {
    if (frame.t === 'auth') {
      this.#token = frame.token;
      return;
    }
    switch (this.#state) {
      case 'hello':
        if (frame.t === 'hello') void this.#welcome(frame.v);
        else this.#refuse('/t', 'hello first');
        return;
      case 'welcoming':
        if (this.#early.push(frame) > this.#context.limits.pendingFrames) {
          this.#close(CloseCode.LIMITS, 'too many frames before the welcome');
        }
        return;
      case 'open':
        this.#handleOpen(frame);
        return;
      case 'closed':
        return;
    }
  }

  async #welcome(version: number): Promise<void> {
    if (version !== WATCH_VERSION) {
      this.#refuse('/v', `version ${WATCH_VERSION}`);
      return;
    }
    this.#state = 'welcoming';
    const context = this.#context;
    try {
      const { header } = await context.api.status(this.#call());
      if (this.#ended()) return;
      this.#epoch = context.epochOf(header);
      this.#newest = revisionOf(header);
    } catch (error) {
      if (this.#ended()) return;
      this.#control({ t: 'err', problem: problemOf(error) });
      const { http } = KvError.from(error).row;
      if (http === 401) this.#close(CloseCode.UNAUTHENTICATED, 'not logged in');
      else if (http === 403) this.#close(CloseCode.FORBIDDEN, 'not allowed');
      else this.#close(CloseCode.LATER, 'not ready');
      return;
    }
    const { subscriptionsPerSocket: subs, frameBytes, credit, heartbeatMs } = context.limits;
    this.#control({
      t: 'welcome',
      v: WATCH_VERSION,
      session: context.prng.uint64().toString(16).padStart(16, '0'),
      epoch: this.#epoch,
      rev: this.#newest,
      heartbeatMs,
      limits: { subs, frameBytes, credit },
    });
    this.#state = 'open';
    const early = this.#early;
    this.#early = [];
    for (const frame of early) this.#handle(frame);
  }

  #call(): CallOptions {
    return this.#context.callOptions(undefined, this.#token);
  }

  #ended(): boolean {
    return this.#state === 'closed';
  }

  #handleOpen(frame: Exclude<ClientFrame, { t: 'auth' }>): void {
    switch (frame.t) {
      case 'hello':
        this.#refuse('/t', 'hello once');
        return;
      case 'sub':
        this.#subscribe(frame);
        return;
      case 'unsub':
        this.#unsubscribe(frame.id);
        return;
      case 'ack':
        this.#subscriptions.get(frame.id)?.ack(frame.rev, frame.credit);
        return;
      case 'ping':
        this.#control({ t: 'pong', n: frame.n });
        return;
      case 'progress':
        if (frame.id === undefined) this.#askBookmark();
        else this.#askProgress(frame.id);
        return;
    }
  }

  #subscribe(frame: ClientFrame & { t: 'sub' }): void {
    const { id } = frame;
    if (this.#subscriptions.has(id)) {
      this.#refuse('/id', 'an id that is not in use');
      return;
    }
    const { subscriptionsPerSocket } = this.#context.limits;
    try {
      if (this.#subscriptions.size >= subscriptionsPerSocket) {
        const detail = `the socket has ${subscriptionsPerSocket} subscriptions: no more are taken`;
        throw new KvError('RATE_LIMITED', { detail });
      }
      const subscription = makeSubscription(frame, this.#hooks);
      this.#subscriptions.set(id, subscription);
      subscription.start(this.#epoch);
    } catch (error) {
      this.#subscriptions.delete(id);
      this.#control({ t: 'end', id, problem: problemOf(error) });
    }
  }

  #unsubscribe(id: string): void {
    const subscription = this.#subscriptions.get(id);
    if (!subscription) return;
    subscription.close();
    this.#subscriptions.delete(id);
    this.#progressAsked.delete(id);
    this.#data({ t: 'end', id });
    this.#bookmarkAnswered(id);
  }

  #onRoom(): void {
    if (this.#state === 'closed') return;
    if (this.#ws.isPaused) this.#ws.resume();
    // Each round begins with another subscription, so that none takes all the room every time.
    const subscriptions = [...this.#subscriptions.values()];
    const first = subscriptions.length === 0 ? 0 : this.#turn++ % subscriptions.length;
    for (let i = 0; i < subscriptions.length; i++) {
      subscriptions[(first + i) % subscriptions.length]?.pump();
    }
  }

  #scheduleHeartbeat(): void {
    const { clock, limits } = this.#context;
    this.#heartbeat = clock.schedule(limits.heartbeatMs, () => {
      if (clock.nowMs() - this.#heardAtMs > SILENT_HEARTBEATS * limits.heartbeatMs) {
        this.#close(CloseCode.SILENT, 'nothing heard');
        return;
      }
      if (this.#state === 'hello') {
        this.#close(CloseCode.SILENT, 'no hello');
        return;
      }
      this.#scheduleHeartbeat();
      if (!this.#outbox.hasRoom) return;
      // A browser answers this by itself, so a page need not send anything to be heard.
      this.#ws.ping();
      if (this.#state === 'open') this.#askBookmark();
    });
  }

  #askProgress(id: string): void {
    const subscription = this.#subscriptions.get(id);
    if (!subscription) return;
    this.#progressAsked.add(id);
    subscription.requestProgress();
  }

  #askBookmark(): void {
    if (this.#bookmarkAwaits) return;
    this.#bookmarkAwaits = new Set();
    const asked = [...this.#subscriptions.values()].filter((s) => s.delivered !== undefined && !s.lagging);
    for (const { id } of asked) this.#bookmarkAwaits.add(id);
    if (asked.length === 0) {
      this.#sendBookmarks();
      return;
    }
    this.#bookmarkTimer = this.#context.clock.schedule(BOOKMARK_WAIT_MS, () => this.#sendBookmarks());
    for (const subscription of asked) subscription.requestProgress();
  }

  #progressed(id: string, rev: number): void {
    this.#newest = Math.max(this.#newest, rev);
    if (this.#progressAsked.delete(id)) this.#data({ t: 'bm', id, rev });
    this.#bookmarkAnswered(id);
  }

  #bookmarkAnswered(id: string): void {
    if (this.#bookmarkAwaits?.delete(id) && this.#bookmarkAwaits.size === 0) this.#sendBookmarks();
  }

  /** One `bm` that holds for all, and one more for each subscription that is further on than the slowest. */
  #sendBookmarks(): void {
    this.#bookmarkAwaits = undefined;
    if (this.#bookmarkTimer) this.#context.clock.cancel(this.#bookmarkTimer);
    this.#bookmarkTimer = undefined;
    const positions: { id: string; rev: number }[] = [];
    for (const { id, delivered } of this.#subscriptions.values()) {
      if (delivered !== undefined) positions.push({ id, rev: delivered });
    }
    const slowest = positions.reduce((min, { rev }) => Math.min(min, rev), Number.POSITIVE_INFINITY);
    this.#data({ t: 'bm', rev: positions.length === 0 ? this.#newest : slowest });
    for (const { id, rev } of positions) if (rev > slowest) this.#data({ t: 'bm', id, rev });
  }

  #heard(): void {
    this.#heardAtMs = this.#context.clock.nowMs();
  }

  #control(frame: ServerFrame): void {
    this.#outbox.pushControl(textFrame(encodeFrame(frame)));
  }

  #data(frame: ServerFrame): void {
    this.#outbox.push(textFrame(encodeFrame(frame)));
  }

  /** A malformed frame is answered, then the socket is closed. */
  #refuse(pointer: string, expected: string): void {
    const problem = problemOf(
      new KvError('BAD_REQUEST', {
        detail: `frame ${pointer || '/'}: ${expected} expected`,
        extra: { errors: [{ in: 'body', pointer, expected }] },
      }),
    );
    this.#control({ t: 'err', problem });
    this.#close(CloseCode.BAD_FRAME, 'bad frame');
  }

  #close(code: number, reason: string): void {
    if (this.#state === 'closed') return;
    this.#release();
    this.#outbox.flush();
    this.#ws.close(code, reason);
  }

  #onClosed(): void {
    this.#release();
    this.#deps.onClosed(this);
  }

  #release(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#early = [];
    for (const subscription of this.#subscriptions.values()) subscription.close();
    this.#subscriptions.clear();
    for (const timer of [this.#heartbeat, this.#bookmarkTimer, this.#closeTimer]) {
      if (timer) this.#context.clock.cancel(timer);
    }
    this.#heartbeat = undefined;
    this.#bookmarkTimer = undefined;
    this.#closeTimer = undefined;
  }
}
