/** Every limit of the gRPC server. Bytes and milliseconds. */
export type GrpcLimits = {
  /** Largest message that is taken: etcd's `--max-request-bytes` and 512 KiB. A watch that allows fragments is cut here. */
  readonly messageBytes: number;
  /** Calls at a time on one connection; etcd's default is no limit. */
  readonly concurrentStreams: number;
  /** Calls at a time over all connections; more are refused. */
  readonly calls: number;
  /** Bytes of messages that have come in part, over all connections; beyond, calls whose message does not come whole fail. */
  readonly receivingBytes: number;
  /**
   * Bytes of answers that clients have not taken, over all connections; beyond, streams are told "full" early, and calls
   * with a long answer fail.
   */
  readonly sendingBytes: number;
  /** Bytes that may wait in one stream before who fills it is told "full". */
  readonly streamBufferBytes: number;
  /** What a client may send on one stream before it is told that there is room for more. */
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /** Pings that come faster than this, with calls open, are too many. */
  readonly keepAliveMinMs: number;
  /** The same with no call open. */
  readonly keepAliveIdleMinMs: number;
  /** A connection silent for this long is asked whether it is there; 0 asks never. */
  readonly keepAlivePingMs: number;
  /** How long it may take to answer. */
  readonly keepAliveTimeoutMs: number;
};

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const SECOND_MS = 1000;
const HOUR_MS = 3600 * SECOND_MS;

/** What gRPC adds to `--max-request-bytes` for the envelope. */
export const ENVELOPE_BYTES = 512 * KIB;

/** etcd's defaults, where it has some. */
export const GRPC_LIMITS: GrpcLimits = {
  messageBytes: 1.5 * MIB + ENVELOPE_BYTES,
  concurrentStreams: 0xffff_ffff,
  calls: 200_000,
  receivingBytes: 0.5 * GIB,
  sendingBytes: GIB,
  streamBufferBytes: MIB,
  streamWindowBytes: 2.5 * MIB,
  connectionWindowBytes: 16 * MIB,
  keepAliveMinMs: 5 * SECOND_MS,
  keepAliveIdleMinMs: 2 * HOUR_MS,
  keepAlivePingMs: 2 * HOUR_MS,
  keepAliveTimeoutMs: 20 * SECOND_MS,
};
