import type { CallOptions, EtcdApi } from '@muster/kv';
import type { JsonValue } from './json-value.ts';
import { leaseIdRequest } from './requests.ts';
import { leaseKeepAliveJson } from './responses.ts';
import { StatusError } from './status-error.ts';
import { resultLine, type StreamOutput, type StreamSession } from './stream.ts';

/** `/v3/lease/keepalive`: one answer a request, in order; ends when the requests do. */
export class KeepAliveSession implements StreamSession {
  readonly #api: EtcdApi;
  readonly #options: CallOptions;
  readonly #output: StreamOutput;
  readonly #onReady: () => void;
  #busy = false;
  #full = false;
  #inputEnded = false;
  #closed = false;

  constructor(api: EtcdApi, options: CallOptions, output: StreamOutput, onReady: () => void) {
    this.#api = api;
    this.#options = options;
    this.#output = output;
    this.#onReady = onReady;
  }

  get ready(): boolean {
    return !this.#busy && !this.#full;
  }

  message(value: JsonValue): void {
    const request = leaseIdRequest(value);
    this.#busy = true;
    this.#api.leaseKeepAlive(request, this.#options).then(
      (result) => {
        if (this.#closed) return;
        this.#full = !this.#output.line(resultLine(leaseKeepAliveJson(result)));
        this.#answered();
      },
      (error) => {
        if (!this.#closed) this.#output.end(StatusError.from(error));
      },
    );
  }

  inputEnded(): void {
    this.#inputEnded = true;
    if (!this.#busy) this.#output.end();
  }

  room(): void {
    this.#full = false;
    if (this.ready) this.#onReady();
  }

  close(): void {
    this.#closed = true;
  }

  #answered(): void {
    this.#busy = false;
    if (this.#inputEnded) this.#output.end();
    else if (this.ready) this.#onReady();
  }
}
