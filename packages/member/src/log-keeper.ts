import type { Engine } from '@muster/kv';
import type { MemoryLog, NodeId, RaftNode } from '@muster/raft';
import type { MemberLimits } from './limits.ts';
import type { Wal } from './ports.ts';

/**
 * Compacts the log behind what the engine has made durable, keeping enough for followers that lag a little. Never
 * above the flushed index: entries beyond it are what a restart replays.
 */
export class LogKeeper {
  readonly #log: MemoryLog;
  readonly #wal: Wal;
  readonly #engine: Engine;
  readonly #limits: MemberLimits;
  readonly #hold: () => number;

  /**
   * `hold` gives the index that followers build on who are being brought up: what comes behind it stays, or they
   * would never arrive while writes go on. It counts until the log has grown to `logHoldBytes`.
   */
  constructor(options: {
    readonly log: MemoryLog;
    readonly wal: Wal;
    readonly engine: Engine;
    readonly limits: MemberLimits;
    readonly hold: () => number;
  }) {
    this.#log = options.log;
    this.#wal = options.wal;
    this.#engine = options.engine;
    this.#limits = options.limits;
    this.#hold = options.hold;
  }

  /** Cheap when there is nothing to do; called after each applied batch. */
  run(): void {
    const log = this.#log;
    const flushed = this.#engine.flushedTag;
    const entries = flushed - log.compactedIndex;
    const tooMany = entries > this.#limits.logEntriesMax;
    const tooLarge = log.byteSize > 2 * this.#limits.logCatchUpBytes && entries > 0;
    if (!tooMany && !tooLarge) return;
    const held = log.byteSize > this.#limits.logHoldBytes ? flushed : this.#hold();
    const safe = Math.min(flushed, held);
    const to = tooLarge ? this.#cutByBytes(safe) : safe - this.#limits.logCatchUpEntries;
    if (to <= log.compactedIndex) return;
    const term = log.term(to);
    if (term === undefined) return;
    log.compactTo(to);
    this.#wal.release(to, term);
  }

  /** The lowest index to cut at so that about `logCatchUpBytes` stay. */
  #cutByBytes(safe: number): number {
    const first = this.#log.compactedIndex;
    const share = this.#limits.logCatchUpBytes / this.#log.byteSize;
    const keep = Math.floor((this.#log.lastIndex - first) * share);
    return Math.min(safe, this.#log.lastIndex - keep);
  }
}

/** The lowest index that a connected follower of this leader goes on from, as far as is known. */
export function followersIndex(raft: RaftNode, connected: (peer: NodeId) => boolean): number {
  let lowest = Number.POSITIVE_INFINITY;
  for (const peer of raft.status().peers) {
    if (!connected(peer.id)) continue;
    const { state, match, next, pendingSnapshot } = peer;
    const from = state === 'replicate' ? match : state === 'snapshot' ? pendingSnapshot : next - 1;
    lowest = Math.min(lowest, from);
  }
  return lowest;
}
