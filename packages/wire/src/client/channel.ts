import {
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  connectivityState,
  credentials,
  type CallOptions as GrpcCallOptions,
  Metadata,
} from '@grpc/grpc-js';
import type { Clock } from '@muster/base';
import { GrpcCode } from '@muster/contract';
import { type Codec, encode } from '../convert/codec.ts';
import type { Method } from '../convert/methods.ts';
import type { Certificates } from './certificates.ts';
import type { Endpoint } from './endpoint.ts';
import { CallFailure, failureOf } from './failure.ts';
import { CLIENT_LIMITS } from './limits.ts';

/** What goes along with a call. */
export type Sending = {
  readonly token: string | undefined;
  readonly requireLeader: boolean;
  /** Milliseconds from now, when there is a limit. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type ChannelSettings = {
  readonly clock: Clock;
  readonly certificates: Certificates;
  /** The name that the servers' certificates are checked against, instead of the endpoint's own. */
  readonly serverName: string | undefined;
  readonly keepaliveTimeMs: number;
  readonly keepaliveTimeoutMs: number;
};

/** The metadata of etcd's own clients; some servers count them by it. */
const CLIENT_API_VERSION = '3.5';
/** grpc-js wants a number where there is to be no ping. */
const NEVER_MS = 2 ** 31 - 1;

/** One connection to one member, made again whenever it is lost, and how well it does. */
export class EndpointChannel {
  readonly endpoint: Endpoint;
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #onChange: () => void;
  #ready = false;
  #closed = false;
  #failures = 0;
  #coolUntilMs = Number.NEGATIVE_INFINITY;

  constructor(endpoint: Endpoint, settings: ChannelSettings, onChange: () => void) {
    this.endpoint = endpoint;
    this.#clock = settings.clock;
    this.#onChange = onChange;
    this.#client = new Client(
      endpoint.target,
      endpoint.secure ? settings.certificates.credentials() : credentials.createInsecure(),
      channelOptions(settings),
    );
    this.#follow();
  }

  /** Connected, as far as is known. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Connected, and no call failed on it a moment ago. */
  get healthy(): boolean {
    return this.#ready && this.#clock.nowMs() >= this.#coolUntilMs;
  }

  /** A call was answered, be it with a refusal. */
  succeeded(): void {
    this.#failures = 0;
    this.#coolUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** A call failed in a way that another member may not. */
  failed(): void {
    const { coolDownFirstMs, coolDownMaxMs } = CLIENT_LIMITS;
    const coolMs = Math.min(coolDownMaxMs, coolDownFirstMs * 2 ** Math.min(this.#failures++, 16));
    this.#coolUntilMs = this.#clock.nowMs() + coolMs;
  }

  close(): void {
    this.#closed = true;
    this.#ready = false;
    this.#client.close();
  }

  /** One request, one answer. Rejects with a `CallFailure`. */
  unary<Q, A>(method: Method<Q, A>, request: Q, sending: Sending): Promise<A> {
    return new Promise((resolve, reject) => {
      const { signal } = sending;
      if (signal?.aborted) return reject(canceled());
      const call = this.#client.makeUnaryRequest(
        method.path,
        encoderOf(method.request),
        decoderOf(method.response),
        request,
        metadataOf(sending),
        optionsOf(sending),
        (error, answer) => {
          signal?.removeEventListener('abort', abort);
          if (error) reject(signal?.aborted ? canceled() : failureOf(error));
          else resolve(answer as A);
        },
      );
      const abort = () => call.cancel();
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  /** One request, many answers. */
  serverStream<Q, A>(method: Method<Q, A>, request: Q, sending: Sending): ClientReadableStream<A> {
    return this.#client.makeServerStreamRequest(
      method.path,
      encoderOf(method.request),
      decoderOf(method.response),
      request,
      metadataOf(sending),
      optionsOf(sending),
    );
  }

  /** Many of both. */
  duplex<Q, A>(method: Method<Q, A>, sending: Sending): ClientDuplexStream<Q, A> {
    return this.#client.makeBidiStreamRequest(
      method.path,
      encoderOf(method.request),
      decoderOf(method.response),
      metadataOf(sending),
      optionsOf(sending),
    );
  }

  /** Keeps the connection wanted, and `ready` true to what it is. */
  #follow(): void {
    if (this.#closed) return;
    const channel = this.#client.getChannel();
    const state = channel.getConnectivityState(true);
    const ready = state === connectivityState.READY;
    if (ready && !this.#ready) this.succeeded();
    const changed = ready !== this.#ready;
    this.#ready = ready;
    if (changed) this.#onChange();
    channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => this.#follow());
  }
}

const canceled = () => new CallFailure(GrpcCode.CANCELLED, 'context canceled');

const encoders = new WeakMap<object, (value: never) => Buffer>();
function encoderOf<T>(codec: Codec<T>): (value: T) => Buffer {
  let encoder = encoders.get(codec) as ((value: T) => Buffer) | undefined;
  if (!encoder) {
    encoder = (value) => encode(codec, value);
    encoders.set(codec, encoder);
  }
  return encoder;
}

const decoders = new WeakMap<object, (bytes: Buffer) => unknown>();
function decoderOf<T>(codec: Codec<T>): (bytes: Buffer) => T {
  let decoder = decoders.get(codec) as ((bytes: Buffer) => T) | undefined;
  if (!decoder) {
    // Through a plain Uint8Array: byte fields are slices of it, and a slice of a Buffer is a Buffer.
    decoder = (bytes) => codec.read(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    decoders.set(codec, decoder);
  }
  return decoder;
}

function metadataOf({ token, requireLeader }: Sending): Metadata {
  const metadata = new Metadata();
  metadata.set('client-api-version', CLIENT_API_VERSION);
  if (token !== undefined && token !== '') metadata.set('token', token);
  if (requireLeader) metadata.set('hasleader', 'true');
  return metadata;
}

function optionsOf({ timeoutMs }: Sending): GrpcCallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

function channelOptions({
  serverName,
  keepaliveTimeMs,
  keepaliveTimeoutMs,
}: ChannelSettings): ChannelOptions {
  const pings = keepaliveTimeMs > 0;
  return {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    'grpc.keepalive_time_ms': pings ? keepaliveTimeMs : NEVER_MS,
    ...(pings ? { 'grpc.keepalive_timeout_ms': keepaliveTimeoutMs } : {}),
    'grpc.initial_reconnect_backoff_ms': CLIENT_LIMITS.reconnectFirstMs,
    'grpc.max_reconnect_backoff_ms': CLIENT_LIMITS.reconnectMaxMs,
    'grpc.enable_retries': 0,
    'grpc.enable_http_proxy': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_channelz': 0,
    ...(serverName === undefined
      ? {}
      : { 'grpc.ssl_target_name_override': serverName, 'grpc.default_authority': serverName }),
  };
}
