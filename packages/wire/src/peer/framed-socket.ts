import type { Socket } from 'node:net';
import type { Clock, Timer } from '@muster/base';
import { MalformedFrame } from './bytes.ts';
import { FRAME, type Frame, FrameReader } from './frames.ts';
import { decodeGoodbye, encodeGoodbye, type Goodbye } from './handshake.ts';
import type { PeerLimits } from './limits.ts';

/** How a connection ended, when the other side or the network ended it. */
export type SocketEnd =
  /** It said so, and why. */
  | { readonly kind: 'goodbye'; readonly why: Goodbye }
  /** Refused, reset or closed without a word: the process at the other end is gone. */
  | { readonly kind: 'gone'; readonly detail: string }
  /** Unreachable or timed out: nothing is known of the process. */
  | { readonly kind: 'lost'; readonly detail: string }
  | { readonly kind: 'malformed'; readonly detail: string };

type FramedSocketHandlers = {
  /** Not called for goodbyes. May throw `MalformedFrame`. */
  readonly onFrame: (frame: Frame) => void;
  /** Once at most, and never after `goodbye` or `destroy`. */
  readonly onEnd: (end: SocketEnd) => void;
};

const GONE_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ENOENT']);

/** One TCP connection that carries frames. */
export class FramedSocket {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #limits: PeerLimits;
  #handlers: FramedSocketHandlers;
  readonly #reader: FrameReader;
  #lingering: Timer | undefined;
  #over = false;
  /** When the other side was heard last (the clock's milliseconds). */
  lastHeardMs: number;
  bytesRead = 0;
  bytesWritten = 0;

  constructor(socket: Socket, clock: Clock, limits: PeerLimits, handlers: FramedSocketHandlers) {
    this.#socket = socket;
    this.#clock = clock;
    this.#limits = limits;
    this.#handlers = handlers;
    this.#reader = new FrameReader(limits.handshakeFrameBytes);
    this.lastHeardMs = clock.nowMs();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, limits.silenceMs);
    socket.on('data', (chunk: Uint8Array) => this.#onData(chunk));
    socket.on('end', () => this.#finish({ kind: 'gone', detail: 'closed without a goodbye' }));
    socket.on('error', (error: NodeJS.ErrnoException) => this.#finish(endOf(error)));
    socket.on('close', () => {
      if (this.#lingering) clock.cancel(this.#lingering);
      this.#finish({ kind: 'gone', detail: 'closed without a goodbye' });
    });
  }

  /** No more frames are handed out and no end is reported. */
  get over(): boolean {
    return this.#over;
  }

  get remoteText(): string {
    return `${this.#socket.remoteAddress ?? 'unknown'}:${this.#socket.remotePort ?? 0}`;
  }

  /** Bytes that wait on this side of the kernel. */
  get backlog(): number {
    return this.#socket.writableLength;
  }

  /** The handshake is done: full-size frames from here on. */
  trust(): void {
    this.#reader.maxBytes = this.#limits.frameBytes;
  }

  /** Who takes frames from the next one on. */
  handleWith(handlers: FramedSocketHandlers): void {
    this.#handlers = handlers;
  }

  /** False asks to wait for `onceDrained`. */
  write(bytes: Uint8Array, written?: () => void): boolean {
    this.bytesWritten += bytes.length;
    return this.#socket.write(bytes, written === undefined ? undefined : () => written());
  }

  onceDrained(run: () => void): void {
    this.#socket.once('drain', run);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Says why, and closes. What was written before still goes out, within `closeMs`. */
  goodbye(why: Goodbye): void {
    this.endWith(encodeGoodbye(why));
  }

  /** Writes a last frame, and closes. */
  endWith(lastFrame: Uint8Array): void {
    if (this.#over) return;
    this.#over = true;
    this.#socket.resume();
    this.#socket.end(lastFrame);
    this.#lingering = this.#clock.schedule(this.#limits.closeMs, () => this.#socket.destroy());
  }

  destroy(): void {
    this.#over = true;
    this.#socket.destroy();
  }

  /** Calls `run` once the socket is closed for good, at once when it is. */
  onceClosed(run: () => void): void {
    if (this.#socket.closed) run();
    else this.#socket.once('close', run);
  }

  #onData(chunk: Uint8Array): void {
    if (this.#over) return;
    this.lastHeardMs = this.#clock.nowMs();
    this.bytesRead += chunk.length;
    try {
      this.#reader.push(chunk, (frame) => {
        if (frame.type === FRAME.goodbye) {
          this.#finish({ kind: 'goodbye', why: decodeGoodbye(frame) });
        } else {
          this.#handlers.onFrame(frame);
        }
        return !this.#over;
      });
    } catch (error) {
      if (!(error instanceof MalformedFrame)) throw error;
      if (this.#over) return;
      this.goodbye('malformed');
      this.#handlers.onEnd({ kind: 'malformed', detail: error.message });
    }
  }

  #finish(end: SocketEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.#socket.destroy();
    this.#handlers.onEnd(end);
  }
}

function endOf(error: NodeJS.ErrnoException): SocketEnd {
  const detail = error.message === '' ? String(error.code) : error.message;
  return { kind: GONE_CODES.has(error.code ?? '') ? 'gone' : 'lost', detail };
}
