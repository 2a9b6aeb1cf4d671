import { deferred } from '@muster/base';
import { KvError } from '@muster/contract';
import { encodeFramed } from '../convert/codec.ts';
import type { Method } from '../convert/methods.ts';
import { type GrpcStatus, requestStatus, statusOf } from '../grpc/grpc-status.ts';
import type { StreamOutput, StreamSession } from '../grpc/route.ts';

/** One request, then every value of an iterable as an answer, no faster than the client takes them. */
export class ServerStreamSession<Request, Response> implements StreamSession {
  readonly #output: StreamOutput;
  readonly #method: Method<Request, Response>;
  readonly #answers: (request: Request, signal: AbortSignal) => AsyncIterable<Response>;
  readonly #toStatus: (thrown: unknown) => GrpcStatus;
  readonly #abort = new AbortController();
  #asked = false;
  #closed = false;
  #room: (() => void) | undefined;

  constructor(
    output: StreamOutput,
    method: Method<Request, Response>,
    answers: (request: Request, signal: AbortSignal) => AsyncIterable<Response>,
    toStatus: (thrown: unknown) => GrpcStatus = statusOf,
  ) {
    this.#output = output;
    this.#method = method;
    this.#answers = answers;
    this.#toStatus = toStatus;
  }

  get ready(): boolean {
    return true;
  }

  /** What comes after the one request is not looked at. */
  message(bytes: Uint8Array): void {
    if (this.#asked) return;
    this.#asked = true;
    let request: Request;
    try {
      request = this.#method.request.read(bytes);
    } catch (thrown) {
      throw requestStatus(thrown);
    }
    void this.#run(request);
  }

  inputEnded(): void {
    if (!this.#asked) this.#output.end(requestStatus(new KvError('BAD_REQUEST', { detail: 'EOF' })));
  }

  room(): void {
    this.#room?.();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#abort.abort(new KvError('CANCELED'));
    this.#room?.();
  }

  async #run(request: Request): Promise<void> {
    try {
      for await (const answer of this.#answers(request, this.#abort.signal)) {
        if (this.#closed) return;
        if (!this.#output.send(encodeFramed(this.#method.response, answer))) await this.#untilRoom();
        if (this.#closed) return;
      }
      if (!this.#closed) this.#output.end();
    } catch (thrown) {
      if (!this.#closed) this.#output.end(this.#toStatus(thrown));
    }
  }

  async #untilRoom(): Promise<void> {
    const room = deferred<void>();
    this.#room = () => room.resolve();
    await room.promise;
    this.#room = undefined;
  }
}
