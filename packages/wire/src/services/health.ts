/** gRPC's health service: the empty name is the server, and no other is known. */
import { GrpcCode } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import { encodeFramed } from '../convert/codec.ts';
import { healthCheckRequest, healthCheckResponse } from '../convert/health.ts';
import { HEALTH_METHODS } from '../convert/methods.ts';
import { GrpcStatus } from '../grpc/grpc-status.ts';
import type { Route, StreamOutput, StreamSession } from '../grpc/route.ts';

export function healthRoutes(): Route[] {
  return [
    {
      type: 'unary',
      method: HEALTH_METHODS.check,
      abortable: false,
      keepsRequest: false,
      async call({ service }: { readonly service: string }, _options: CallOptions) {
        if (service !== '') throw new GrpcStatus(GrpcCode.NOT_FOUND, 'unknown service');
        return { status: 'serving' };
      },
    },
    { type: 'stream', method: HEALTH_METHODS.watch, open: (output) => new HealthWatch(output) },
  ];
}

/** Says how it is and then nothing, for it stays that way until the server stops. */
class HealthWatch implements StreamSession {
  readonly #output: StreamOutput;
  #asked = false;

  constructor(output: StreamOutput) {
    this.#output = output;
  }

  get ready(): boolean {
    return true;
  }

  message(bytes: Uint8Array): void {
    if (this.#asked) return;
    this.#asked = true;
    const { service } = healthCheckRequest.read(bytes);
    const status = service === '' ? 'serving' : 'serviceUnknown';
    this.#output.send(encodeFramed(healthCheckResponse, { status }));
  }

  inputEnded(): void {}
  room(): void {}
  close(): void {}
}
