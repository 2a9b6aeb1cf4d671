/**
 * What a member needs from the machine. Completion is by callback, never by promise, so that a whole cluster can be
 * stepped synchronously and replayed from a seed. Callbacks never run from inside the call that takes them.
 */
import type { MemberInfo, SnapshotChunk } from '@muster/kv';
import type { Entry, HardState, Message, NodeId } from '@muster/raft';

/** What was found in the log at start, in order, whole and checked. */
export type WalContents = {
  readonly hardState: HardState | undefined;
  /** Contiguous; the first one's index is compactedIndex + 1. */
  readonly entries: readonly Entry[];
  readonly compactedIndex: number;
  readonly compactedTerm: number;
};

/** One unit to make durable: state and entries together. */
export type WalBatch = { readonly hardState?: HardState; readonly entries: readonly Entry[] };

export interface Wal {
  /**
   * Appends and syncs. Any number may be under way; they complete in order, and those that wait while a sync runs
   * share the next one (group commit). `sync` false may complete without one. After an error every later append
   * fails with it too, except where the error says `retryable` (a full disk), when nothing of the batch was kept.
   */
  append(batch: WalBatch, sync: boolean, done: (error?: WalError) => void): void;
  /** Entries at or below `index` are no longer needed; `term` is the term at `index`. Released when convenient. */
  release(index: number, term: number): void;
  /** A snapshot replaced everything: the log starts over after (index, term). Durable when `done` is called. */
  reset(index: number, term: number, hardState: HardState, done: (error?: WalError) => void): void;
  close(done: () => void): void;
}

export class WalError extends Error {
  override readonly name = 'WalError';
  readonly retryable: boolean;

  constructor(message: string, options: { readonly retryable: boolean; readonly cause?: unknown }) {
    super(message, { cause: options.cause });
    this.retryable = options.retryable;
  }
}

/** A message between members: raft's, or one of the member's own requests (forwarded keepalives and the like). */
export type PeerMessage =
  | { readonly type: 'raft'; readonly message: Message }
  /** A request for the leader; `id` comes back in the response. Body and meaning are the member's. */
  | { readonly type: 'request'; readonly id: number; readonly body: Uint8Array }
  | { readonly type: 'response'; readonly id: number; readonly body: Uint8Array };

export type PeerEvent =
  | { readonly type: 'message'; readonly from: NodeId; readonly message: PeerMessage }
  | { readonly type: 'connected'; readonly peer: NodeId }
  /** `reset` is true when the peer's process is gone (connection reset or refused), not merely silent. */
  | { readonly type: 'disconnected'; readonly peer: NodeId; readonly reset: boolean }
  /** A member of the same cluster says that this one is a member no longer. */
  | { readonly type: 'removed'; readonly by: NodeId }
  /** A snapshot came in whole and verified; it waits in the SnapshotStore under this name. */
  | {
      readonly type: 'snapshotReceived';
      readonly from: NodeId;
      readonly name: string;
      readonly message: Message & { readonly type: 'snapshot' };
    };

export interface PeerTransport {
  /** Where events go; set once, before `setPeers`. */
  onEvent(handler: (event: PeerEvent) => void): void;
  /**
   * Connects to these and no others. Ids map to peer URLs. `cluster` is what others that call are told: who the members
   * are, this one included, and whose ids are members' no longer.
   */
  setPeers(
    peers: ReadonlyMap<NodeId, readonly string[]>,
    cluster: { readonly members: readonly MemberInfo[]; readonly removed: ReadonlySet<NodeId> },
  ): void;
  /**
   * Queues one message. False when the peer's queue is full or it is not connected: the message is dropped. One that
   * was taken arrives once or not at all, in order on its connection: never twice, also not after a reconnect.
   */
  send(to: NodeId, message: PeerMessage): boolean;
  /** Streams a snapshot with the raft message that announces it; `done` says whether it arrived whole. */
  sendSnapshot(
    to: NodeId,
    message: Message & { readonly type: 'snapshot' },
    name: string,
    done: (error?: Error) => void,
  ): void;
  /** Milliseconds since the connection came up, or `undefined` when it is down. */
  connectedForMs(peer: NodeId): number | undefined;
  close(done: () => void): void;
}

/** What the machine does for the upkeep of this member's storage. Promises, for EtcdApi alone uses it. */
export interface StorageUpkeep {
  /** See `AdminApi.snapshot`. */
  snapshot(signal?: AbortSignal): AsyncIterable<SnapshotChunk>;
  /** Gives storage that is not used back to the machine. Reads and writes go on meanwhile. */
  defragment(): Promise<void>;
}

/** Checksummed images of the whole replicated state. */
export interface SnapshotStore {
  /**
   * Writes the engine's state, as of some `commit` not older than the last one before this call, to a new snapshot
   * and syncs it. `raftMeta` is what the image holds in table `meta` under the key `raft`: it says which index the
   * image stands at.
   */
  create(
    done: (error: Error | undefined, image: { readonly name: string; readonly raftMeta: Uint8Array }) => void,
  ): void;
  /** Replaces the engine's whole state by the snapshot's, atomically with respect to crashes. */
  install(name: string, done: (error?: Error) => void): void;
  /** Removes all but the newest `keep` that are not being sent. */
  prune(keep: number): void;
}
