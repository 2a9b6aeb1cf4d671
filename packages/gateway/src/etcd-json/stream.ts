/**
 * The shape of a streaming call, whatever carries it: requests come as a sequence of JSON values, answers go as lines.
 */
import { GrpcCode } from '@muster/contract';
import { JsonScanner } from './json-scanner.ts';
import { type JsonValue, parseExact } from './json-value.ts';
import { StatusError } from './status-error.ts';

/** Where the answers go: an HTTP response, a WebSocket. */
export interface StreamOutput {
  /**
   * Takes one line, its newline included. False says "full": what was passed goes out, and the session is told by
   * `room` when there is place again. The same line object may be given to many outputs.
   */
  line(line: Buffer): boolean;
  /** The end: in order, or with an error as the last line. */
  end(error?: StatusError): void;
  /** Refuses the call in the form of a unary one. Only before the first line. */
  refuse(error: StatusError): void;
}

/** One call in progress. Its own errors go to the output; `message` throws for a request that cannot be read. */
export interface StreamSession {
  /** Takes one request. Only while `ready`. */
  message(value: JsonValue): void;
  /** There is one request alone, and what follows it does not count: a server stream. */
  readonly single?: true;
  /** False while a request is being answered; the next ones wait, so that answers keep the order of the requests. */
  readonly ready: boolean;
  /** No more requests come. */
  inputEnded(): void;
  /** The output has place again. */
  room(): void;
  /** The client is gone or the call has ended: everything is released, nothing is sent. Idempotent. */
  close(): void;
}

export type OpenSession = (output: StreamOutput, onReady: () => void) => StreamSession;

/**
 * Cuts the request body into messages and hands them to the session one by one. The first message must be readable;
 * a later one that is not ends the input only, as in etcd.
 */
export class StreamCall {
  readonly #session: StreamSession;
  readonly #output: StreamOutput;
  readonly #maxChars: number;
  readonly #scanner = new JsonScanner();
  readonly #decoder = new TextDecoder();
  readonly #onClose: (call: StreamCall, code: number) => void;
  #text = '';
  #scanned = 0;
  #messages = 0;
  #ended = false;
  #inputOver = false;
  #closed = false;
  #resumeInput: (() => void) | undefined;

  constructor(
    open: OpenSession,
    output: StreamOutput,
    maxChars: number,
    onClose: (call: StreamCall, code: number) => void,
  ) {
    this.#output = output;
    this.#maxChars = maxChars;
    this.#onClose = onClose;
    // Sessions end themselves through the output; the call has to hear of it.
    this.#session = open(
      {
        line: (line) => output.line(line),
        refuse: (e) => this.#finish(e, () => output.refuse(e)),
        end: (e) => this.#finish(e, () => output.end(e)),
      },
      () => this.#continue(),
    );
  }

  /** Takes a piece of the body. False: no more until `resume` is called. */
  push(bytes: Uint8Array, resume: () => void): boolean {
    if (this.#closed || this.#inputOver) return true;
    this.#text += this.#decoder.decode(bytes, { stream: true });
    this.#read();
    if (this.#closed || this.#inputOver || this.#session.ready) return true;
    this.#resumeInput = resume;
    return false;
  }

  /** The body is complete. */
  endInput(): void {
    this.#ended = true;
    this.#read();
  }

  room(): void {
    if (!this.#closed) this.#session.room();
  }

  /** The client is gone. */
  close(): void {
    this.#close(GrpcCode.CANCELLED);
  }

  /** The server ends the call. */
  abort(error: StatusError): void {
    this.#finish(error, () => this.#output.end(error));
  }

  #finish(error: StatusError | undefined, last: () => void): void {
    if (this.#closed) return;
    this.#close(error?.grpc ?? GrpcCode.OK);
    last();
  }

  #close(code: number): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#session.close();
    this.#onClose(this, code);
  }

  #continue(): void {
    this.#read();
    if (!this.#session.ready) return;
    const resume = this.#resumeInput;
    this.#resumeInput = undefined;
    resume?.();
  }

  #read(): void {
    while (!this.#closed && !this.#inputOver && this.#session.ready) {
      const found = this.#scanner.scan(this.#text, this.#scanned);
      if (found.type === 'error') return this.#unreadable(found.text);
      if (found.type === 'more') {
        this.#scanned = this.#text.length;
        if (this.#scanned > this.#maxChars) return this.#tooLarge();
        if (this.#ended) this.#endOfText();
        return;
      }
      const value = this.#text.slice(0, found.end);
      this.#text = this.#text.slice(found.end);
      this.#scanned = 0;
      this.#deliver(value);
    }
  }

  #endOfText(): void {
    const rest = this.#text;
    this.#text = '';
    this.#scanned = 0;
    const state = this.#scanner.finish();
    if (state === 'truncated') return this.#unreadable('unexpected EOF');
    if (state === 'value') this.#deliver(rest);
    if (!this.#inputOver && !this.#closed) this.#endOfInput();
  }

  #deliver(text: string): void {
    try {
      this.#session.message(parseExact(text));
      this.#messages++;
      if (this.#session.single) {
        this.#inputOver = true;
        this.#text = '';
      }
    } catch (thrown) {
      this.#unreadable(StatusError.from(thrown).message);
    }
  }

  #unreadable(text: string): void {
    if (this.#messages === 0) {
      const code = this.#session.single ? GrpcCode.INVALID_ARGUMENT : GrpcCode.UNKNOWN;
      const error = new StatusError(code, text);
      this.#finish(error, () => this.#output.refuse(error));
    } else this.#endOfInput();
  }

  #tooLarge(): void {
    const text = `grpc: received message larger than max (${this.#text.length} vs. ${this.#maxChars})`;
    const error = new StatusError(GrpcCode.RESOURCE_EXHAUSTED, text);
    this.#finish(error, () => this.#output.end(error));
  }

  #endOfInput(): void {
    this.#inputOver = true;
    this.#text = '';
    this.#session.inputEnded();
  }
}

const RESULT_OPEN = '{"result":';

/** One answer of a stream as a line. */
export function resultLine(json: string): Buffer {
  return Buffer.from(`${RESULT_OPEN}${json}}\n`);
}
