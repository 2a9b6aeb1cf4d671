import type { Command, MemberInfo, StateMachine } from '@muster/kv';
import type { ConfChangeStep, NodeId } from '@muster/raft';
import type { MemberOptions, MembershipPolicy } from './member-options.ts';

/** Election timeouts that a removed member stays for the others' sake. */
const LINGER_ELECTIONS = 2;

/** What a command changes of raft's configuration; `undefined` when nothing. */
export function confChangeSteps(command: Command): readonly ConfChangeStep[] | undefined {
  switch (command.type) {
    case 'memberAdd':
      return [{ type: command.isLearner ? 'addLearner' : 'addVoter', node: command.id }];
    case 'memberPromote':
      return [{ type: 'addVoter', node: command.id }];
    case 'memberRemove':
      return [{ type: 'remove', node: command.id }];
    default:
      return undefined;
  }
}

/** Where a change of the members leads besides the state: whom this member connects to, and its own end. */
export class Membership {
  readonly #options: MemberOptions;
  readonly #machine: () => StateMachine;
  readonly #onRemoved: () => void;
  #removed = false;

  constructor(
    options: MemberOptions,
    parts: {
      readonly machine: () => StateMachine;
      /** This member is one no longer; called once. */
      readonly onRemoved: () => void;
    },
  ) {
    this.#options = options;
    this.#machine = parts.machine;
    this.#onRemoved = parts.onRemoved;
  }

  get removed(): boolean {
    return this.#removed;
  }

  get policy(): MembershipPolicy {
    return this.#options.membership;
  }

  /** As far as is known here: one that joins has been told, until the state itself says. */
  members(): readonly MemberInfo[] {
    const members = this.#machine().members();
    return members.length > 0 ? members : (this.#options.joining ?? []);
  }

  /** The table of members may be another one now. */
  refresh(): void {
    const { id, transport } = this.#options;
    const members = this.members();
    const removed: ReadonlySet<NodeId> = new Set(this.#machine().removedMembers());
    const peers = new Map<NodeId, readonly string[]>();
    for (const member of members) if (member.id !== id) peers.set(member.id, member.peerUrls);
    transport.setPeers(peers, { members, removed });
    if (removed.has(id)) this.leave('its own log', true);
  }

  /**
   * This member was removed: `source` is who says so. It is final, for no removed id ever comes back. One that has its
   * removal in its own log may be the only one who knows that it is committed, while the others need its vote to find
   * out: it serves nobody any more and goes on answering them for a while.
   */
  leave(source: string, lingers = false): void {
    if (this.#removed) return;
    this.#removed = true;
    const { clock, electionMs, log } = this.#options;
    log('error', REMOVED_TEXT, { source });
    clock.schedule(lingers ? LINGER_ELECTIONS * electionMs : 0, () => this.#onRemoved());
  }
}

/** etcd's words for it. */
export const REMOVED_TEXT = 'the member has been permanently removed from the cluster';
