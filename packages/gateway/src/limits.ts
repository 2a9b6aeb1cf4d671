/** Every bound of the gateway, in one place. All of them are configuration; these are the defaults. */
import { assert } from '@muster/base';

export type GatewayLimits = {
  /** One request body, in bytes. etcd's own request limit of 1.5 MiB, in base64 within JSON. */
  readonly bodyBytes: number;
  /** One value under `/v1`, raw, in bytes. */
  readonly valueBytes: number;
  /** One key, in bytes. */
  readonly keyBytes: number;
  /** Request line and headers together, in bytes. */
  readonly headerBytes: number;
  /** Milliseconds for a request's headers to arrive. */
  readonly headersTimeoutMs: number;
  /** Milliseconds for a whole request to arrive. */
  readonly requestTimeoutMs: number;
  /** Open TCP connections. */
  readonly connections: number;
  /** Open WebSockets. */
  readonly sockets: number;
  /** Open SSE and ndjson streams, and held long polls, together. */
  readonly streams: number;
  /** One WebSocket frame from a client, in bytes. */
  readonly frameBytes: number;
  /** One WebSocket frame to a client, in bytes, before it is cut in parts. A single event is never cut. */
  readonly outFrameBytes: number;
  /** Subscriptions on one WebSocket; etcd watches on one `/v3` socket. */
  readonly subscriptionsPerSocket: number;
  /** Revisions that a subscription may have unacknowledged, at most and when it does not say. */
  readonly credit: number;
  readonly creditDefault: number;
  /** Bytes that may wait in a socket's or stream's send buffer before reading for it stops. */
  readonly bufferedBytes: number;
  /** Frames a client may send that are not yet handled; more closes its socket. */
  readonly pendingFrames: number;
  /** Entries on a page: at most and when it does not say. */
  readonly pageItems: number;
  readonly pageItemsDefault: number;
  /** Bytes of keys and values on a page, about: one that is reached ends the page. */
  readonly pageBytes: number;
  /** Bytes of keys and values read in one call while a page or a snapshot is put together, about. */
  readonly sliceBytes: number;
  /** Keys in the first such call, before it is known how large they are. */
  readonly sliceItemsFirst: number;
  /** Keys read in one turn while a page, a snapshot or a `delimiter` listing is put together. */
  readonly scanItems: number;
  /** Keys one `delimiter`, `services` or selection request may go through before it is refused. */
  readonly scanItemsTotal: number;
  /** Operations and compares of one txn, each; etcd's `--max-txn-ops`. */
  readonly txnOps: number;
  /** Lease ids in one keepalive batch. */
  readonly keepaliveIds: number;
  /** Seconds that a long poll may be held. */
  readonly longPollSeconds: number;
  /** Milliseconds between bookmarks; either side closes after 2.5 times this much silence. */
  readonly heartbeatMs: number;
  /** Milliseconds over which clients spread their reconnects after a `goaway`. */
  readonly goawayJitterMs: number;
  /** Milliseconds a request may take when it does not say (`X-Timeout`), and at most. */
  readonly deadlineMs: number;
  readonly deadlineMaxMs: number;
  /** Seconds of an instance's lease: when it does not say, at least, and at most. */
  readonly instanceTtlSeconds: number;
  readonly instanceTtlMinSeconds: number;
  readonly instanceTtlMaxSeconds: number;
  /** Attempts of a compare-and-set before a conflict is reported. */
  readonly casAttempts: number;
  /** Revisions behind which a `coalesce: key` subscription gets a snapshot instead of history. */
  readonly replayRevisions: number;
  /** Times that one snapshot is begun again when compaction overtakes it. */
  readonly snapshotAttempts: number;
  /** Milliseconds between two looks at the cluster's state while somebody watches it. */
  readonly clusterPollMs: number;
};

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_LIMITS: GatewayLimits = {
  bodyBytes: 3 * MIB,
  valueBytes: 1.5 * MIB,
  keyBytes: 64 * KIB,
  headerBytes: 16 * KIB,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  connections: 20_000,
  sockets: 10_000,
  streams: 10_000,
  frameBytes: 64 * KIB,
  outFrameBytes: 256 * KIB,
  subscriptionsPerSocket: 256,
  credit: 4096,
  creditDefault: 256,
  bufferedBytes: 1 * MIB,
  pendingFrames: 256,
  pageItems: 1000,
  pageItemsDefault: 1000,
  pageBytes: 8 * MIB,
  sliceBytes: 1 * MIB,
  sliceItemsFirst: 64,
  scanItems: 1000,
  scanItemsTotal: 100_000,
  txnOps: 128,
  keepaliveIds: 1000,
  longPollSeconds: 600,
  heartbeatMs: 15_000,
  goawayJitterMs: 5000,
  deadlineMs: 10_000,
  deadlineMaxMs: 60_000,
  instanceTtlSeconds: 15,
  instanceTtlMinSeconds: 2,
  instanceTtlMaxSeconds: 86_400,
  casAttempts: 8,
  replayRevisions: 10_000,
  snapshotAttempts: 5,
  clusterPollMs: 1000,
};

/** The defaults with some of them replaced, checked against each other. */
export function gatewayLimits(overrides: Partial<GatewayLimits> = {}): GatewayLimits {
  const limits = { ...DEFAULT_LIMITS, ...overrides };
  for (const [name, value] of Object.entries(limits)) {
    assert(
      Number.isSafeInteger(value) && value > 0,
      `limit ${name} is ${value}: a whole number above 0 expected`,
    );
  }
  const atMost = (low: keyof GatewayLimits, high: keyof GatewayLimits): void =>
    assert(
      limits[low] <= limits[high],
      () => `limit ${low} is ${limits[low]}, above ${high} ${limits[high]}`,
    );
  atMost('valueBytes', 'bodyBytes');
  atMost('keyBytes', 'valueBytes');
  atMost('creditDefault', 'credit');
  atMost('pageItemsDefault', 'pageItems');
  atMost('sliceBytes', 'pageBytes');
  atMost('sliceItemsFirst', 'scanItems');
  atMost('scanItems', 'scanItemsTotal');
  atMost('deadlineMs', 'deadlineMaxMs');
  atMost('instanceTtlMinSeconds', 'instanceTtlSeconds');
  atMost('instanceTtlSeconds', 'instanceTtlMaxSeconds');
  atMost('outFrameBytes', 'bufferedBytes');
  return limits;
}
