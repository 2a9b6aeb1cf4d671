import type { Clock } from '@muster/base';
import { type ConfChangeStep, NONE, type NodeId, type PeerStatus, type RaftNode } from '@muster/raft';
import type { MemberLog } from './member-log.ts';

/** Moves leadership to another voter and says when it leads. */
export class HandOver {
  readonly #raft: RaftNode;
  readonly #clock: Clock;
  readonly #connected: (peer: NodeId) => boolean;
  readonly #electionMs: number;
  readonly #log: MemberLog;
  #givingUp = false;
  readonly #waiting = new Set<() => void>();

  constructor(options: {
    readonly raft: RaftNode;
    readonly clock: Clock;
    readonly connected: (peer: NodeId) => boolean;
    readonly electionMs: number;
    readonly log: MemberLog;
  }) {
    this.#raft = options.raft;
    this.#clock = options.clock;
    this.#connected = options.connected;
    this.#electionMs = options.electionMs;
    this.#log = options.log;
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

  /** Makes another voter lead, if this member does and there is one; `done` comes when it does, or after a time. */
  toAnother(done: () => void): void {
    const target = this.#raft.role === 'leader' ? this.#successor() : undefined;
    if (target === undefined) return done();
    const to = target.toString(16);
    this.#log('info', 'handing leadership over', { to });
    this.transfer(target, this.#electionMs, (leads) => {
      if (!leads) this.#log('warn', 'leadership was not handed over', { to });
      done();
    });
  }

  /**
   * Before a leader lets a change into its log that removes itself, it makes another one lead, which then takes the
   * change: else it could be gone before the others know that the change is committed, and could not elect without it.
   */
  beforeChange(steps: readonly ConfChangeStep[]): void {
    const { id, role } = this.#raft;
    if (role !== 'leader' || !steps.some(({ type, node }) => type === 'remove' && node === id)) return;
    const target = this.#successor();
    if (target !== undefined) this.#raft.transferLeadership(target);
  }

  /** A leader that cannot write its own log applies nothing and answers no renewal: somebody else should lead. */
  giveUp(): void {
    if (this.#givingUp) return;
    this.#givingUp = true;
    this.toAnother(() => {
      this.#givingUp = false;
    });
  }

  /** The leader changed, or a peer went away. */
  onChange(): void {
    for (const check of [...this.#waiting]) check();
  }

  /** Of the voters connected, one that answers rather than one that stands still, and then the furthest along. */
  #successor(): NodeId | undefined {
    const { peers, confState } = this.#raft.status();
    let best: PeerStatus | undefined;
    for (const peer of peers) {
      const { id, recentActive, match } = peer;
      if (id === this.#raft.id || !confState.voters.includes(id) || !this.#connected(id)) continue;
      const isBetter = best?.recentActive === recentActive ? match > best.match : recentActive;
      if (!best || isBetter) best = peer;
    }
    return best?.id;
  }
}
