import { GrpcCode, KvError } from '@muster/contract';
import { type GrpcStatus, messageStatus } from './grpc-status.ts';
import { MessageReader } from './message-reader.ts';
import { begin, finish, refuse } from './reply.ts';
import type { StreamOutput, StreamRoute, StreamSession } from './route.ts';
import { type CallHost, type CallStart, ServerCall } from './server-call.ts';

/** A call with a stream of answers. Requests go to its session one by one, no faster than it takes them. */
export class StreamCall extends ServerCall implements StreamOutput {
  readonly #session: StreamSession;
  readonly #reader: MessageReader;
  /** Requests that wait for the session; no more is read while there are some. */
  #waiting: Uint8Array[] = [];
  #inputEnded = false;
  #begun = false;
  #full = false;

  constructor(host: CallHost, route: StreamRoute, start: CallStart) {
    super(host, route, start);
    this.#reader = new MessageReader(host.limits.messageBytes, host.receiving);
    this.#session = route.open(this, () => this.#deliver(), this.options);
    this.stream.on('data', (chunk: Buffer) => this.#take(chunk));
    this.stream.once('end', () => {
      this.#inputEnded = true;
      this.#deliver();
    });
    this.stream.on('drain', () => this.#drained());
  }

  send(frame: Buffer): boolean {
    if (this.over || this.stream.destroyed) return true;
    if (!this.#begun) begin(this.stream);
    this.#begun = true;
    this.connection.sent();
    this.host.observer?.grpcBytes?.(0, frame.length);
    // Only a write that was told to wait is followed by `drain`.
    if (this.stream.write(frame)) return !this.#full;
    const { limits, sending } = this.host;
    const waiting = this.stream.writableLength;
    this.unsent.hold(waiting);
    if (waiting >= limits.streamBufferBytes || sending.spent) this.#full = true;
    return !this.#full;
  }

  end(error?: GrpcStatus): void {
    if (error !== undefined) return this.fail(error);
    if (this.over) return;
    this.conclude(GrpcCode.OK);
    this.connection.sent();
    if (this.stream.destroyed) return;
    if (!this.#begun) begin(this.stream);
    finish(this.stream);
  }

  stop(): void {
    this.fail(new KvError('STOPPED'));
  }

  protected sendError(status: GrpcStatus): void {
    if (!this.#begun) refuse(this.stream, status);
    else if (!this.stream.destroyed) finish(this.stream, status);
  }

  protected release(): void {
    this.#waiting = [];
    this.#reader.release();
    this.#session.close();
    // What still lies unread would keep the stream, and with it the connection.
    this.stream.resume();
  }

  #take(chunk: Buffer): void {
    if (this.over) return;
    this.connection.heard();
    try {
      const messages = this.#reader.push(chunk);
      if (messages.length === 0) return;
      this.#waiting.push(...messages);
    } catch (thrown) {
      return this.fail(thrown);
    }
    this.#deliver();
  }

  #deliver(): void {
    try {
      while (!this.over && this.#waiting.length > 0 && this.#session.ready) {
        const message = this.#waiting.shift() as Uint8Array;
        this.host.observer?.grpcBytes?.(message.length + PREFIX_BYTES, 0);
        this.#session.message(message);
      }
    } catch (thrown) {
      return this.fail(messageStatus(thrown));
    }
    if (this.over) return;
    if (this.#waiting.length > 0) this.stream.pause();
    else if (this.#inputEnded) this.#session.inputEnded();
    else if (this.stream.isPaused()) this.stream.resume();
  }

  #drained(): void {
    this.unsent.hold(0);
    if (!this.#full) return;
    this.#full = false;
    if (!this.over) this.#session.room();
  }
}

const PREFIX_BYTES = 5;
