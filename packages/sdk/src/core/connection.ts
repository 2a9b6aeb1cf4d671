import { backoffDelayMs, type Clock, type Prng, type Timer } from '@muster/base';
import type { ClientFrame, ServerFrame, SubFrame } from '@muster/contract';
import type { Endpoints } from './endpoints.ts';
import { closedError } from './errors.ts';
import { SOCKET_BACKOFF, SOCKET_SOUND_MS, SUBSCRIBE_BACKOFF } from './limits.ts';
import type { Login } from './login.ts';
import { type LinkHandlers, SocketLink } from './socket-link.ts';
import { type ConnectionStatus, Listeners, type Logger, type Off } from './status.ts';
import type { Transport } from './transport.ts';

/** A frame that names a subscription. */
export type NamedFrame = Extract<ServerFrame, { readonly id: string }>;

/** What became of a subscription with a frame: go on, ask again after a pause, forget it, or leave this member. */
export type Verdict = 'ok' | 'again' | 'done' | { readonly violation: string };

/** One subscription as the connection sees it. It may be subscribed again and again, on one socket after another. */
export interface Subscriber {
  /** The frame to begin with; `undefined` to wait for `Attachment.subscribe`. */
  subscribe(id: string, epoch: string): SubFrame | undefined;
  receive(frame: NamedFrame): Verdict;
  bookmark(rev: number): void;
  /** The socket is gone; `subscribe` follows when there is another. */
  detached(cause: string): void;
  /** The client was closed: the last that is heard. */
  closed(): void;
}

export type Attachment = {
  /** Sends a frame of this subscription. Without a socket it is dropped: the next `subscribe` says it all. */
  send(frame: ClientFrame): void;
  /** Subscribes now if there is a socket, unless that is done or will be. */
  subscribe(): void;
  close(): void;
};

type ConnectionOptions = {
  readonly endpoints: Endpoints;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
  readonly headers: Readonly<Record<string, string>>;
  readonly clientName: string;
  readonly login?: Login | undefined;
};

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'paused' }
  | { readonly kind: 'connecting'; readonly link: SocketLink }
  | { readonly kind: 'open'; readonly link: SocketLink; readonly sinceMs: number }
  /** `link` still delivers; `next` is the socket that will follow it, once it is being opened. */
  | {
      readonly kind: 'draining';
      readonly link: SocketLink;
      readonly sinceMs: number;
      next: SocketLink | undefined;
      timer: Timer | undefined;
    }
  | { readonly kind: 'backoff'; readonly timer: Timer; readonly delayMs: number; readonly cause: string }
  | { readonly kind: 'closed' };

type Slot = { id: string | undefined; timer: Timer | undefined; attempts: number };

/**
 * The one socket of a client, shared by all its subscriptions. It exists while something is subscribed, and is opened
 * again, to any member, whenever it is lost: for ever, with full jitter.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #slots = new Map<Subscriber, Slot>();
  readonly #byId = new Map<string, Subscriber>();
  readonly #listeners: Listeners<ConnectionStatus>;
  #state: State = { kind: 'idle' };
  #attempt = 0;
  /** The open socket has delivered something: its loss is not one more failure in a row. */
  #progressed = false;
  #nextId = 0;
  #revision = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#listeners = new Listeners((error) =>
      options.logger.warn('a status listener threw', { error: String(error) }),
    );
  }

  get status(): ConnectionStatus {
    const state = this.#state;
    switch (state.kind) {
      case 'connecting':
        return { state: 'connecting', endpoint: state.link.endpoint, attempt: this.#attempt };
      case 'open': {
        const { endpoint, welcome } = state.link;
        return { state: 'open', endpoint, revision: this.#revision, epoch: welcome?.epoch ?? '' };
      }
      case 'draining':
        return { state: 'draining', endpoint: state.link.endpoint };
      case 'backoff':
        return { state: 'backoff', attempt: this.#attempt, delayMs: state.delayMs, cause: state.cause };
      default:
        return { state: state.kind };
    }
  }

  onStatus(listener: (status: ConnectionStatus) => void): Off {
    return this.#listeners.add(listener);
  }

  attach(subscriber: Subscriber): Attachment {
    if (this.#state.kind === 'closed') throw closedError('the client');
    this.#slots.set(subscriber, { id: undefined, timer: undefined, attempts: 0 });
    const link = this.#liveLink();
    if (link) this.#subscribe(subscriber, link);
    else if (this.#state.kind === 'idle') this.#dial();
    return {
      send: (frame) => this.#slots.get(subscriber)?.id !== undefined && this.#liveLink()?.send(frame),
      subscribe: () => {
        const slot = this.#slots.get(subscriber);
        const live = this.#liveLink();
        if (live && slot?.id === undefined && !slot?.timer) this.#subscribe(subscriber, live);
      },
      close: () => this.#detach(subscriber),
    };
  }

  /** Lets the socket go until `resume`: for a page that nobody looks at. */
  pause(): void {
    if (this.#state.kind === 'closed' || this.#state.kind === 'paused') return;
    this.#letGo('paused');
    this.#setState({ kind: 'paused' });
  }

  resume(): void {
    if (this.#state.kind !== 'paused') return;
    this.#setState({ kind: 'idle' });
    this.#attempt = 0;
    if (this.#slots.size > 0) this.#dial();
  }

  /** There may be news of the network: cuts a backoff short and looks whether the socket is still alive. */
  nudge(): void {
    const state = this.#state;
    if (state.kind === 'backoff') {
      this.#options.clock.cancel(state.timer);
      this.#dial();
    } else {
      this.#liveLink()?.check();
    }
  }

  close(): void {
    if (this.#state.kind === 'closed') return;
    this.#letGo('closed');
    this.#setState({ kind: 'closed' });
    const subscribers = [...this.#slots.keys()];
    this.#slots.clear();
    for (const subscriber of subscribers) subscriber.closed();
    this.#listeners.clear();
  }

  #detach(subscriber: Subscriber): void {
    const slot = this.#slots.get(subscriber);
    if (!slot) return;
    this.#slots.delete(subscriber);
    if (slot.timer) this.#options.clock.cancel(slot.timer);
    if (slot.id !== undefined) {
      this.#byId.delete(slot.id);
      this.#liveLink()?.send({ t: 'unsub', id: slot.id });
    }
    if (this.#slots.size > 0 || this.#state.kind === 'closed' || this.#state.kind === 'paused') return;
    this.#letGo('nothing is watched');
    this.#setState({ kind: 'idle' });
  }

  #dial(): void {
    this.#setState({ kind: 'connecting', link: this.#open(new Set()) });
  }

  #open(avoid: ReadonlySet<string>): SocketLink {
    const { endpoints, transport, clock, headers, clientName, login } = this.#options;
    const endpoint = endpoints.pick(avoid);
    const handlers: LinkHandlers = {
      onWelcome: () => this.#adopt(link),
      onFrame: (frame) => this.#onFrame(link, frame),
      onGone: (cause) => this.#onGone(link, cause),
    };
    const link: SocketLink = new SocketLink(
      { endpoint, transport, clock, headers, clientName, login },
      handlers,
    );
    return link;
  }

  #adopt(link: SocketLink): void {
    const state = this.#state;
    const wanted =
      state.kind === 'connecting' ? state.link : state.kind === 'draining' ? state.next : undefined;
    if (wanted !== link) return;
    const before = this.#liveLink();
    this.#options.endpoints.succeeded(link.endpoint);
    this.#revision = link.welcome?.rev ?? 0;
    this.#progressed = false;
    // A planned move is no loss: every subscription just goes on here.
    if (before) this.#forgetIds();
    this.#setState({ kind: 'open', link, sinceMs: this.#options.clock.nowMs() });
    before?.close(1000, 'moved');
    for (const subscriber of [...this.#slots.keys()]) this.#subscribe(subscriber, link);
  }

  #subscribe(subscriber: Subscriber, link: SocketLink): void {
    const slot = this.#slots.get(subscriber);
    if (!slot || !link.welcome) return;
    if (slot.timer) this.#options.clock.cancel(slot.timer);
    slot.timer = undefined;
    const id = `s${++this.#nextId}`;
    const frame = subscriber.subscribe(id, link.welcome.epoch);
    if (!frame) return;
    slot.id = id;
    this.#byId.set(id, subscriber);
    link.send(frame);
  }

  #onFrame(link: SocketLink, frame: ServerFrame): void {
    if (link !== this.#liveLink()) return;
    if (frame.t === 'goaway') this.#onGoaway(link, frame.afterMs);
    else if (frame.t === 'err')
      this.#options.logger.warn('the server reports a problem', { ...frame.problem });
    else if (frame.t === 'bm') this.#onBookmark(frame.rev, frame.id);
    else if ('id' in frame && frame.id !== undefined) this.#onNamed(link, frame as NamedFrame);
  }

  #onBookmark(rev: number, id: string | undefined): void {
    this.#revision = Math.max(this.#revision, rev);
    if (id !== undefined) this.#byId.get(id)?.bookmark(rev);
    else for (const subscriber of [...this.#byId.values()]) subscriber.bookmark(rev);
  }

  #onNamed(link: SocketLink, frame: NamedFrame): void {
    const subscriber = this.#byId.get(frame.id);
    const slot = subscriber && this.#slots.get(subscriber);
    if (!slot) return;
    if (frame.t === 'ev' || frame.t === 'snap') this.#revision = Math.max(this.#revision, frame.rev);
    if (frame.t === 'end' && frame.problem?.status === 401 && link.tokenRefused()) {
      this.#loginAgain(link, frame);
      return;
    }
    this.#hear(link, frame);
  }

  /** The token ran out while the socket lived: another one, then the subscription anew. */
  #loginAgain(link: SocketLink, frame: NamedFrame): void {
    link.authorize().then(
      () => {
        const subscriber = this.#byId.get(frame.id);
        const slot = subscriber && this.#slots.get(subscriber);
        if (slot && link === this.#liveLink()) this.#again(subscriber, slot, frame.id);
      },
      () => {
        if (link === this.#liveLink()) this.#hear(link, frame);
      },
    );
  }

  #hear(link: SocketLink, frame: NamedFrame): void {
    const subscriber = this.#byId.get(frame.id);
    const slot = subscriber && this.#slots.get(subscriber);
    if (!slot) return;
    const verdict = subscriber.receive(frame);
    if (verdict === 'ok') {
      if (frame.t === 'ev' || frame.t === 'snap') {
        slot.attempts = 0;
        this.#progressed = true;
      }
    } else if (verdict === 'done') {
      this.#byId.delete(frame.id);
      slot.id = undefined;
      this.#detach(subscriber);
    } else if (verdict === 'again') {
      this.#again(subscriber, slot, frame.id);
    } else {
      this.#options.logger.warn('leaving a member that breaks the protocol', {
        endpoint: link.endpoint,
        violation: verdict.violation,
      });
      link.close(4400, verdict.violation.slice(0, 100));
      this.#onGone(link, verdict.violation);
    }
  }

  #again(subscriber: Subscriber, slot: Slot, id: string): void {
    const { clock, prng } = this.#options;
    this.#byId.delete(id);
    slot.id = undefined;
    this.#liveLink()?.send({ t: 'unsub', id });
    const delayMs = backoffDelayMs(SUBSCRIBE_BACKOFF, slot.attempts++, prng);
    slot.timer = clock.schedule(delayMs, () => {
      const link = this.#liveLink();
      if (link) this.#subscribe(subscriber, link);
    });
  }

  /** The next socket is opened first and the old one closed after, so that nothing pauses. */
  #onGoaway(link: SocketLink, afterMs: number): void {
    if (this.#state.kind !== 'open') return;
    const { sinceMs } = this.#state;
    this.#setState({ kind: 'draining', link, sinceMs, next: undefined, timer: undefined });
    this.#openNext(this.#options.prng.float() * afterMs);
  }

  #openNext(delayMs: number): void {
    const state = this.#state;
    if (state.kind !== 'draining') return;
    state.timer = this.#options.clock.schedule(delayMs, () => {
      if (this.#state !== state) return;
      state.timer = undefined;
      state.next = this.#open(new Set([state.link.endpoint]));
    });
  }

  #onGone(link: SocketLink, cause: string): void {
    const { clock, endpoints, prng } = this.#options;
    const state = this.#state;
    if (state.kind === 'draining' && link === state.next) {
      endpoints.failed(link.endpoint);
      state.next = undefined;
      this.#openNext(backoffDelayMs(SOCKET_BACKOFF, this.#attempt++, prng));
      return;
    }
    if (state.kind === 'draining' && link === state.link) {
      this.#unbind(cause);
      if (state.timer) clock.cancel(state.timer);
      if (state.next) this.#setState({ kind: 'connecting', link: state.next });
      else this.#dial();
      return;
    }
    if ((state.kind !== 'open' && state.kind !== 'connecting') || state.link !== link) return;
    endpoints.failed(link.endpoint);
    const sound =
      state.kind === 'open' && (this.#progressed || clock.nowMs() - state.sinceMs >= SOCKET_SOUND_MS);
    this.#attempt = sound ? 0 : this.#attempt + 1;
    this.#unbind(`${link.endpoint}: ${cause}`);
    const delayMs = backoffDelayMs(SOCKET_BACKOFF, Math.max(0, this.#attempt - 1), prng);
    const timer = clock.schedule(delayMs, () => this.#dial());
    this.#setState({ kind: 'backoff', timer, delayMs, cause });
  }

  #forgetIds(): void {
    this.#byId.clear();
    for (const slot of this.#slots.values()) slot.id = undefined;
  }

  #unbind(cause: string): void {
    this.#byId.clear();
    for (const [subscriber, slot] of [...this.#slots]) {
      if (slot.timer) this.#options.clock.cancel(slot.timer);
      slot.timer = undefined;
      if (slot.id === undefined) continue;
      slot.id = undefined;
      subscriber.detached(cause);
    }
  }

  #letGo(cause: string): void {
    const state = this.#state;
    if (state.kind === 'backoff') this.#options.clock.cancel(state.timer);
    if (state.kind === 'draining') {
      if (state.timer) this.#options.clock.cancel(state.timer);
      state.next?.close();
    }
    if (state.kind === 'connecting' || state.kind === 'open' || state.kind === 'draining')
      state.link.close(1000, cause);
    this.#unbind(cause);
  }

  #liveLink(): SocketLink | undefined {
    const state = this.#state;
    return state.kind === 'open' || state.kind === 'draining' ? state.link : undefined;
  }

  #setState(state: State): void {
    this.#state = state;
    this.#listeners.emit(this.status);
  }
}
