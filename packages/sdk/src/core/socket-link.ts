import type { Clock, Timer } from '@muster/base';
import {
  type ClientFrame,
  CloseCode,
  encodeFrame,
  parseServerFrame,
  type ServerFrame,
  WATCH_PROTOCOL,
  WATCH_VERSION,
} from '@muster/contract';
import { SILENCE_HEARTBEATS, SOCKET_OPEN_TIMEOUT_MS } from './limits.ts';
import type { Login } from './login.ts';
import type { Socket, Transport } from './transport.ts';

export type Welcome = Extract<ServerFrame, { readonly t: 'welcome' }>;

export type LinkHandlers = {
  onWelcome(welcome: Welcome): void;
  /** Every frame but `welcome` and `pong`. */
  onFrame(frame: ServerFrame): void;
  /** At most once and the last: the socket is of no more use. Not called after `close`. */
  onGone(cause: string): void;
};

type LinkOptions = {
  readonly endpoint: string;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly headers: Readonly<Record<string, string>>;
  readonly clientName: string;
  readonly login?: Login | undefined;
};

/** One socket from dialling to its end: opening deadline, `hello` and `welcome`, pings, and the watchdog for silence. */
export class SocketLink {
  readonly endpoint: string;
  readonly #clock: Clock;
  readonly #handlers: LinkHandlers;
  readonly #clientName: string;
  readonly #socket: Socket;
  #welcome: Welcome | undefined;
  #gone = false;
  #timer: Timer | undefined;
  #lastHeardMs: number;
  #lastSentMs: number;
  #pings = 0;
  readonly #login: Login | undefined;
  /** What the server was shown last. */
  #token: string | undefined;

  constructor(options: LinkOptions, handlers: LinkHandlers) {
    this.endpoint = options.endpoint;
    this.#clock = options.clock;
    this.#handlers = handlers;
    this.#clientName = options.clientName;
    this.#login = options.login;
    this.#lastHeardMs = this.#clock.nowMs();
    this.#lastSentMs = this.#lastHeardMs;
    const url = `${options.endpoint.replace(/^http/, 'ws')}/v1/watch`;
    this.#socket = options.transport.openSocket(url, [WATCH_PROTOCOL], options.headers, {
      onOpen: () => this.#hello(),
      onMessage: (text) => this.#onMessage(text),
      onClose: (code, reason) => this.#end(`closed with ${code}${reason ? ` (${reason})` : ''}`),
    });
    this.#timer = this.#clock.schedule(SOCKET_OPEN_TIMEOUT_MS, () => this.#fail('no welcome in time'));
  }

  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  send(frame: ClientFrame): void {
    if (this.#gone) return;
    this.#lastSentMs = this.#clock.nowMs();
    this.#socket.send(encodeFrame(frame));
  }

  /** Shows the server the client's token. Rejects when there is none to be had. */
  async authorize(): Promise<void> {
    const token = await this.#login?.token();
    if (token === undefined) return;
    this.#token = token;
    this.send({ t: 'auth', token });
  }

  /** The server did not take the token. False when there will not be another one. */
  tokenRefused(): boolean {
    return this.#login?.refused(this.#token) ?? false;
  }

  #hello(): void {
    const hello = (): void => this.send({ t: 'hello', v: WATCH_VERSION, client: this.#clientName });
    // Without a login there is nothing to wait for.
    if (this.#login === undefined) hello();
    else this.authorize().then(hello, (error) => this.#fail(`no login: ${String(error)}`));
  }

  /** Ends it without `onGone`. Idempotent. */
  close(code = 1000, reason = ''): void {
    if (this.#gone) return;
    this.#gone = true;
    if (this.#timer) this.#clock.cancel(this.#timer);
    this.#socket.close(code, reason);
  }

  /** Looks at once whether the peer has been silent for too long: after a suspended tab or laptop wakes up. */
  check(): void {
    if (this.#welcome && this.#silentFor() >= this.#patienceMs()) this.#fail('silent');
  }

  #onMessage(text: string): void {
    if (this.#gone) return;
    this.#lastHeardMs = this.#clock.nowMs();
    const parsed = parseServerFrame(text);
    if (!parsed.ok) {
      this.#fail(`sent a frame that is not one: ${parsed.pointer} ${parsed.expected} expected`);
      return;
    }
    const frame = parsed.frame;
    if (!frame || frame.t === 'pong') return;
    if (frame.t === 'welcome') this.#onWelcome(frame);
    else if (!this.#welcome && frame.t !== 'err') this.#fail(`sent ${frame.t} before welcome`);
    else {
      if (frame.t === 'err' && frame.problem.status === 401) this.tokenRefused();
      this.#handlers.onFrame(frame);
    }
    if (frame.t === 'bm') this.#maybePing();
  }

  #onWelcome(welcome: Welcome): void {
    if (this.#welcome) {
      this.#fail('sent welcome twice');
      return;
    }
    this.#welcome = welcome;
    if (this.#timer) this.#clock.cancel(this.#timer);
    this.#watch(this.#patienceMs());
    this.#handlers.onWelcome(welcome);
  }

  /** Bookmarks come once a heartbeat, so they pace our own signs of life: timers of a hidden tab are held back. */
  #maybePing(): void {
    const heartbeatMs = this.#welcome?.heartbeatMs ?? 0;
    if (this.#clock.nowMs() - this.#lastSentMs >= heartbeatMs / 2) this.send({ t: 'ping', n: this.#pings++ });
  }

  #patienceMs(): number {
    return (this.#welcome?.heartbeatMs ?? 0) * SILENCE_HEARTBEATS;
  }

  #silentFor(): number {
    return this.#clock.nowMs() - this.#lastHeardMs;
  }

  #watch(delayMs: number): void {
    this.#timer = this.#clock.schedule(delayMs, () => {
      const left = this.#patienceMs() - this.#silentFor();
      if (left > 0) this.#watch(left);
      // A stalled event loop has frames waiting that it has not read yet: they get one turn to speak.
      else
        this.#clock.defer(() =>
          this.#silentFor() >= this.#patienceMs() ? this.#fail('silent') : this.#rearm(),
        );
    });
  }

  #rearm(): void {
    if (!this.#gone) this.#watch(this.#patienceMs() - this.#silentFor());
  }

  #fail(cause: string): void {
    if (this.#gone) return;
    this.#socket.close(cause === 'silent' ? CloseCode.SILENT : CloseCode.BAD_FRAME, cause.slice(0, 100));
    this.#end(cause);
  }

  #end(cause: string): void {
    if (this.#gone) return;
    this.#gone = true;
    if (this.#timer) this.#clock.cancel(this.#timer);
    this.#handlers.onGone(cause);
  }
}
