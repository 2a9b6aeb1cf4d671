import { assert } from '@muster/base';

/** Every bound of the peer transport. Times in milliseconds, sizes in bytes. */
export const PEER_LIMITS = {
  /** A frame before the handshake is done: nobody has said who they are yet. */
  handshakeFrameBytes: 4 * 1024,
  /** Any later frame. A message never spans frames, so this bounds the largest message too. */
  frameBytes: 64 * 1024 * 1024,
  /** A batch is closed and a new frame begun once it is this long. */
  batchBytes: 256 * 1024,
  /** What may wait for one peer, encoded or handed to the kernel's side of the socket. */
  queueBytes: 32 * 1024 * 1024,
  queueMessages: 8192,
  /** Connections that have not shaken hands yet; more are closed at once. */
  pendingHandshakes: 64,
  handshakeMs: 2000,
  dialMs: 1000,
  /** For the answer to one that is to join. */
  queryMs: 3000,
  /** Between pings. */
  pingMs: 1000,
  /** A peer that says nothing at all for so long is given up as silent. */
  silenceMs: 5000,
  /** Redial delays while a peer is expected; the very first retry is immediate. */
  redialFirstMs: 10,
  redialMaxMs: 100,
  /** Redial delay after a refusal that names a reason: it will not change within milliseconds. */
  refusedRedialMs: 1000,
  snapshotChunkBytes: 256 * 1024,
  /** Without a byte of progress for so long a snapshot transfer is given up. */
  snapshotStallMs: 30_000,
  /** Members that are newer than what this one has applied; more are refused. */
  strangers: 16,
  /** Snapshots being received at once. */
  snapshotReceives: 2,
  /** Urls, versions and reasons in control frames. */
  textBytes: 1024,
  /** Members in a configuration list. */
  confStateIds: 1024,
  /** How long `close` waits for goodbyes to be written. */
  closeMs: 200,
} as const;

export type PeerLimits = { readonly [name in keyof typeof PEER_LIMITS]: number };

assert(PEER_LIMITS.queueBytes >= 2 * PEER_LIMITS.batchBytes, 'a queue holds at least two batches');
assert(PEER_LIMITS.frameBytes > PEER_LIMITS.snapshotChunkBytes, 'a chunk fits a frame');
assert(PEER_LIMITS.silenceMs >= 3 * PEER_LIMITS.pingMs, 'two lost pings are not silence');
assert(PEER_LIMITS.handshakeFrameBytes > 2 * PEER_LIMITS.textBytes, 'a handshake fits its frame');
