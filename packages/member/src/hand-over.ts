import type { Clock } from '@muster/base';
import { NONE, type NodeId, type RaftNode } from '@muster/raft';

/** Moves leadership to another voter and says when it leads. */
export class HandOver {
  readonly #raft: RaftNode;
  readonly #clock: Clock;
  readonly #connected: (peer: NodeId) => boolean;
  readonly #waiting = new Set<() => void>();

  constructor(options: {
    readonly raft: RaftNode;
    readonly clock: Clock;
    readonly connected: (peer: NodeId) => boolean;
  }) {
    this.#raft = options.raft;
    this.#clock = options.clock;
    this.#connected = options.connected;
  }

  /** `done` says whether `target` leads now; false after `timeoutMs`, when it went away, or another took over. */
  transfer(target: NodeId, timeoutMs: number, done: (leads: boolean) => void): void {
    const self = this.#raft.id;
    if (this.#raft.leader === target) return done(true);
    const finish = (leads: boolean) => {
      this.#waiting.delete(check);
      this.#clock.cancel(timer);
      done(leads);
    };
    const check = () => {
      const leader = this.#raft.leader;
      if (leader !== NONE && leader !== self) finish(leader === target);
      else if (!this.#connected(target)) finish(false);
    };
    const timer = this.#clock.schedule(timeoutMs, () => finish(false));
    this.#waiting.add(check);
    this.#raft.transferLeadership(target);
  }

  /** The leader changed, or a peer went away. */
  onChange(): void {
    for (const check of [...this.#waiting]) check();
  }

  /** The voter that is furthest along among those connected. */
  successor(): NodeId | undefined {
    const { peers, confState } = this.#raft.status();
    let best: { id: NodeId; match: number } | undefined;
    for (const { id, match } of peers) {
      if (id === this.#raft.id || !confState.voters.includes(id) || !this.#connected(id)) continue;
      if (!best || match > best.match) best = { id, match };
    }
    return best?.id;
  }
}
