import { GrpcCode } from '@muster/contract';
import { encodeFramed } from '../convert/codec.ts';
import { GrpcStatus, requestStatus } from './grpc-status.ts';
import { MessageReader, wholeMessage } from './message-reader.ts';
import { answer, refuse } from './reply.ts';
import type { UnaryRoute } from './route.ts';
import { type CallHost, type CallStart, ServerCall } from './server-call.ts';

/** A call with one request and one answer. */
export class UnaryCall extends ServerCall {
  readonly #unary: UnaryRoute;
  /** For a message that comes in pieces. */
  #reader: MessageReader | undefined;
  #asked = false;

  constructor(host: CallHost, route: UnaryRoute, start: CallStart) {
    super(host, route, start);
    this.#unary = route;
    this.stream.on('data', (chunk: Buffer) => this.#take(chunk));
    this.stream.on('end', () => this.#inputEnded());
  }

  stop(): void {}

  protected sendError(status: GrpcStatus): void {
    refuse(this.stream, status);
  }

  protected release(): void {
    this.#reader?.release();
  }

  /** One message is taken; gRPC has no more for such a call, and what comes is not looked at. */
  #take(chunk: Buffer): void {
    if (this.#asked || this.over) return;
    this.connection.heard();
    try {
      const message = this.#message(chunk);
      if (message === undefined) return;
      this.#asked = true;
      this.host.observer?.grpcBytes?.(message.length + PREFIX_BYTES, 0);
      this.#ask(message);
    } catch (thrown) {
      this.fail(thrown);
    }
  }

  /** The message that `chunk` completes. Nearly every one comes in a single piece. */
  #message(chunk: Buffer): Uint8Array | undefined {
    if (this.#reader === undefined) {
      const whole = wholeMessage(chunk, this.host.limits.messageBytes);
      if (whole !== undefined) return this.#unary.keepsRequest ? whole.slice() : whole;
      this.#reader = new MessageReader(this.host.limits.messageBytes, this.host.receiving);
    }
    return this.#reader.push(chunk)[0];
  }

  #ask(message: Uint8Array): void {
    let request: unknown;
    try {
      request = this.#unary.method.request.read(message);
    } catch (thrown) {
      return this.fail(requestStatus(thrown));
    }
    this.#unary.call(request, this.options).then(
      (response) => this.#answer(response),
      (thrown) => this.fail(thrown),
    );
  }

  #answer(response: unknown): void {
    if (this.over) return;
    let frame: Buffer;
    try {
      frame = encodeFramed(this.#unary.method.response, response);
    } catch (thrown) {
      return this.fail(thrown);
    }
    if (frame.length > SHORT_ANSWER_BYTES) {
      if (this.host.sending.spent) return this.fail(TOO_MUCH_WAITS);
      this.unsent.hold(frame.length);
    }
    this.conclude(GrpcCode.OK);
    this.connection.sent();
    this.host.observer?.grpcBytes?.(0, frame.length);
    if (!this.stream.destroyed && !this.stream.closed) answer(this.stream, frame);
  }

  #inputEnded(): void {
    if (this.#asked || this.over) return;
    const text = this.#reader?.whole !== false ? 'EOF' : 'unexpected EOF';
    this.fail(new GrpcStatus(GrpcCode.INTERNAL, text));
  }
}

const PREFIX_BYTES = 5;
/** Answers up to this length are not counted: what is open on a connection bounds them. */
const SHORT_ANSWER_BYTES = 16 * 1024;
const TOO_MUCH_WAITS = new GrpcStatus(
  GrpcCode.RESOURCE_EXHAUSTED,
  'grpc: too many answers wait for their clients',
);
