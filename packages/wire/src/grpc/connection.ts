import { constants, type ServerHttp2Session } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { Clock, Timer } from '@muster/base';
import type { GrpcLimits } from './grpc-limits.ts';

/** Pings that came too early and are forgiven, as gRPC does it. */
const STRIKES_MAX = 2;
/** Acknowledgements and window updates that go out between two pings; what is more is answers. */
const HOUSEKEEPING_BYTES = 128;
const TOO_MANY_PINGS = Buffer.from('too_many_pings');

/** One client connection: who it is, and the rules of keepalive (gRPC's A8 and etcd's figures). */
export class Connection {
  /** The client's address; of a Unix socket there is none. */
  readonly source: string | undefined;
  readonly #session: ServerHttp2Session;
  readonly #clock: Clock;
  readonly #limits: GrpcLimits;
  #certificateName: string | undefined;
  #certificateRead = false;
  #calls = 0;
  #lastPingMs = Number.NEGATIVE_INFINITY;
  #strikes = 0;
  /** Something was sent since the last ping: a client may probe then, for instance to measure the delay. */
  #sent = true;
  /** Of the socket at the last ping. A large answer leaves in pieces, and a client probes for each of them. */
  #bytesAtPing = 0;
  #lastHeardMs: number;
  #timer: Timer | undefined;

  constructor(session: ServerHttp2Session, clock: Clock, limits: GrpcLimits) {
    this.#session = session;
    this.source = session.socket.remoteAddress;
    this.#clock = clock;
    this.#limits = limits;
    this.#lastHeardMs = clock.nowMs();
    session.on('ping', () => this.#pinged());
    session.on('error', () => {});
    session.once('close', () => this.#stopTimer());
    session.setLocalWindowSize(limits.connectionWindowBytes);
    if (limits.keepAlivePingMs > 0) this.#askAfter(limits.keepAlivePingMs);
  }

  /** Common name of the client's certificate; only of one that was verified. */
  get certificateName(): string | undefined {
    if (!this.#certificateRead) {
      this.#certificateRead = true;
      const socket = this.#session.socket as Partial<TLSSocket>;
      if (socket.authorized === true) this.#certificateName = commonName(socket as TLSSocket);
    }
    return this.#certificateName;
  }

  callOpened(): void {
    this.#calls++;
    this.heard();
  }

  callClosed(): void {
    this.#calls--;
  }

  heard(): void {
    this.#lastHeardMs = this.#clock.nowMs();
  }

  sent(): void {
    this.#sent = true;
  }

  #pinged(): void {
    this.heard();
    const now = this.#clock.nowMs();
    const since = now - this.#lastPingMs;
    this.#lastPingMs = now;
    const bytes = this.#session.socket.bytesWritten;
    const sending = bytes - this.#bytesAtPing > HOUSEKEEPING_BYTES;
    this.#bytesAtPing = bytes;
    if (this.#sent || sending) {
      this.#sent = false;
      this.#strikes = 0;
      return;
    }
    const { keepAliveMinMs, keepAliveIdleMinMs } = this.#limits;
    if (since < (this.#calls > 0 ? keepAliveMinMs : keepAliveIdleMinMs)) this.#strikes++;
    if (this.#strikes > STRIKES_MAX) this.#sendAway();
  }

  #sendAway(): void {
    const session = this.#session;
    if (session.destroyed) return;
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, session.state.lastProcStreamID ?? 0, TOO_MANY_PINGS);
    // The frame goes out in this turn's write; the connection is cut in a later one.
    this.#clock.defer(() => session.destroy());
  }

  /** Asks whether the client is there once it has been silent for long. */
  #askAfter(delayMs: number): void {
    this.#timer = this.#clock.schedule(delayMs, () => {
      const silentMs = this.#clock.nowMs() - this.#lastHeardMs;
      const { keepAlivePingMs } = this.#limits;
      if (silentMs < keepAlivePingMs) this.#askAfter(keepAlivePingMs - silentMs);
      else this.#ask();
    });
  }

  #ask(): void {
    if (this.#session.destroyed) return;
    this.#timer = this.#clock.schedule(this.#limits.keepAliveTimeoutMs, () => this.#session.destroy());
    this.#session.ping((error) => {
      if (error) return;
      this.#stopTimer();
      this.heard();
      this.#askAfter(this.#limits.keepAlivePingMs);
    });
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.#clock.cancel(this.#timer);
    this.#timer = undefined;
  }
}

/** Empty of a certificate without one: a user that nobody is, as in etcd. Of several the last, as Go has it. */
function commonName(socket: TLSSocket): string {
  const name: unknown = socket.getPeerCertificate().subject?.CN;
  const last: unknown = Array.isArray(name) ? name.at(-1) : name;
  return typeof last === 'string' ? last : '';
}
