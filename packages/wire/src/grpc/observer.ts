import type { MethodType } from '../convert/methods.ts';

export type GrpcMethod = {
  readonly type: MethodType;
  /** With its package: `etcdserverpb.KV`. */
  readonly service: string;
  readonly method: string;
};

/** Told what the server does, for metrics. Must not throw. */
export interface GrpcObserver {
  /** `clientVersion` is what the client says of itself, such as `3.6`. */
  grpcStarted(method: GrpcMethod, clientVersion?: string): void;
  /** `code` is gRPC's number. */
  grpcHandled(method: GrpcMethod, code: number, seconds: number): void;
  /** Bytes of messages, their prefixes included. */
  grpcBytes?(received: number, sent: number): void;
}
