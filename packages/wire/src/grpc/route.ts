/** How the server's calls reach what answers them. */
import type { CallOptions } from '@muster/kv';
import type { Method } from '../convert/methods.ts';
import type { GrpcStatus } from './grpc-status.ts';

/** Where the answers of a streaming call go. */
export interface StreamOutput {
  /**
   * Takes one framed message. False says "full": what was passed goes out, and the session is told by `room` when
   * there is place again. The same buffer may be given to many outputs.
   */
  send(frame: Buffer): boolean;
  /** The end, in order or with an error. Nothing may be sent after it. */
  end(error?: GrpcStatus): void;
}

/** One streaming call in progress. */
export interface StreamSession {
  /** Takes one request. Only while `ready`. Throws what ends the call. */
  message(bytes: Uint8Array): void;
  /** False while requests have to wait; `onReady` says that they may come again. */
  readonly ready: boolean;
  /** No more requests come. */
  inputEnded(): void;
  /** The output has place again. */
  room(): void;
  /** The client is gone or the call has ended: everything is released, nothing is sent. Idempotent. */
  close(): void;
}

export type UnaryRoute = {
  readonly type: 'unary';
  // biome-ignore lint/suspicious/noExplicitAny: a table of calls with a type each
  readonly method: Method<any, any>;
  // biome-ignore lint/suspicious/noExplicitAny: a table of calls with a type each
  readonly call: (request: any, options: CallOptions) => Promise<unknown>;
  /** Whether giving up on the call frees anything: those that answer at once go without a signal, which costs. */
  readonly abortable: boolean;
  /** Whether parts of the request outlive the call, and must not keep what else was received with it. */
  readonly keepsRequest: boolean;
};

export type StreamRoute = {
  readonly type: 'stream';
  // biome-ignore lint/suspicious/noExplicitAny: a table of calls with a type each
  readonly method: Method<any, any>;
  readonly open: (output: StreamOutput, onReady: () => void, options: CallOptions) => StreamSession;
};

export type Route = UnaryRoute | StreamRoute;
