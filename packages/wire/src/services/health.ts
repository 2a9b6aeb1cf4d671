/** gRPC's health service: the empty name is the server, and no other is known. */
import { GrpcCode } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import { encodeFramed } from '../convert/codec.ts';
import { healthCheckRequest, healthCheckResponse } from '../convert/health.ts';
import { HEALTH_METHODS } from '../convert/methods.ts';
import { GrpcStatus } from '../grpc/grpc-status.ts';
import type { Route, StreamOutput, StreamSession } from '../grpc/route.ts';

/** How the server is now; throws what a check is refused with. */
export type HealthSource = () => 'serving' | 'notServing';

export function healthRoutes(health: HealthSource): Route[] {
  return [
    {
      type: 'unary',
      method: HEALTH_METHODS.check,
      abortable: false,
      keepsRequest: false,
      async call({ service }: { readonly service: string }, _options: CallOptions) {
        if (service !== '') throw new GrpcStatus(GrpcCode.NOT_FOUND, 'unknown service');
        return { status: health() };
      },
    },
    { type: 'stream', method: HEALTH_METHODS.watch, open: (output) => new HealthWatch(output, health) },
  ];
}

/** Says how it is and then nothing: when the server stops, the stream ends. */
class HealthWatch implements StreamSession {
  readonly #output: StreamOutput;
  readonly #health: HealthSource;
  #asked = false;

  constructor(output: StreamOutput, health: HealthSource) {
    this.#output = output;
    this.#health = health;
  }

  get ready(): boolean {
    return true;
  }

  message(bytes: Uint8Array): void {
    if (this.#asked) return;
    this.#asked = true;
    const { service } = healthCheckRequest.read(bytes);
    const status = service === '' ? this.#health() : 'serviceUnknown';
    this.#output.send(encodeFramed(healthCheckResponse, { status }));
  }

  inputEnded(): void {}
  room(): void {}
  close(): void {}
}
