import type { JsonValue } from './json-value.ts';
import type { StatusError } from './status-error.ts';
import { resultLine, type StreamOutput, type StreamSession } from './stream.ts';

/** What one request of a server stream stands for. */
type ListSource<R, T> = {
  /** Throws for a request that cannot be read. */
  readonly request: (value: JsonValue | undefined) => R;
  /** `signal` fires when nobody listens any more. */
  readonly items: (request: R, signal: AbortSignal) => AsyncIterable<T>;
  /** The answers that one item makes. */
  readonly answers: (item: T) => Iterable<string>;
  readonly error: (thrown: unknown) => StatusError;
};

/** One request, then a list of answers: a snapshot, the leaders of an election. Reads no faster than the client. */
export class ListSession<R, T> implements StreamSession {
  readonly single = true;
  readonly #source: ListSource<R, T>;
  readonly #output: StreamOutput;
  readonly #stop = new AbortController();
  #started = false;
  #onRoom: (() => void) | undefined;

  constructor(source: ListSource<R, T>, output: StreamOutput) {
    this.#source = source;
    this.#output = output;
  }

  get ready(): boolean {
    return !this.#started;
  }

  message(value: JsonValue | undefined): void {
    const request = this.#source.request(value);
    this.#started = true;
    this.#run(request).then(
      () => this.#output.end(),
      (thrown) => {
        if (!this.#stop.signal.aborted) this.#output.end(this.#source.error(thrown));
      },
    );
  }

  inputEnded(): void {
    // An empty body is an empty request.
    if (!this.#started) this.message(undefined);
  }

  room(): void {
    this.#onRoom?.();
  }

  close(): void {
    this.#stop.abort();
    this.#onRoom?.();
  }

  async #run(request: R): Promise<void> {
    for await (const item of this.#source.items(request, this.#stop.signal)) {
      for (const answer of this.#source.answers(item)) {
        if (this.#stop.signal.aborted) return;
        if (!this.#output.line(resultLine(answer))) await this.#room();
      }
    }
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      this.#onRoom = () => {
        this.#onRoom = undefined;
        resolve();
      };
      if (this.#stop.signal.aborted) this.#onRoom();
    });
  }
}
