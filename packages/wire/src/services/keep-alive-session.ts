import type { CallOptions, EtcdApi } from '@muster/kv';
import { encodeFramed } from '../convert/codec.ts';
import { leaseKeepAliveRequest, leaseKeepAliveResponse } from '../convert/lease.ts';
import { statusOf } from '../grpc/grpc-status.ts';
import type { StreamOutput, StreamSession } from '../grpc/route.ts';

type KeepAliveOptions = {
  readonly api: EtcdApi;
  readonly options: CallOptions;
  readonly output: StreamOutput;
  readonly onReady: () => void;
};

/** Lease keepalive: one answer a request, in order; ends when the requests do. */
export class KeepAliveSession implements StreamSession {
  readonly #with: KeepAliveOptions;
  #busy = false;
  #full = false;
  #inputEnded = false;
  #closed = false;

  constructor(options: KeepAliveOptions) {
    this.#with = options;
  }

  get ready(): boolean {
    return !this.#busy && !this.#full;
  }

  message(bytes: Uint8Array): void {
    const { api, options, output } = this.#with;
    const request = leaseKeepAliveRequest.read(bytes);
    this.#busy = true;
    api.leaseKeepAlive(request, options).then(
      (result) => {
        if (this.#closed) return;
        this.#full = !output.send(encodeFramed(leaseKeepAliveResponse, result));
        this.#answered();
      },
      (error) => {
        if (!this.#closed) output.end(statusOf(error));
      },
    );
  }

  inputEnded(): void {
    this.#inputEnded = true;
    if (!this.#busy) this.#with.output.end();
  }

  room(): void {
    this.#full = false;
    if (this.ready) this.#with.onReady();
  }

  close(): void {
    this.#closed = true;
  }

  #answered(): void {
    this.#busy = false;
    if (this.#inputEnded) this.#with.output.end();
    else if (this.ready) this.#with.onReady();
  }
}
