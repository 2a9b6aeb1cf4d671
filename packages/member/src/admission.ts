import type { Clock } from '@muster/base';
import type { NodeId } from '@muster/raft';
import { decodeAnswer, encodeCall, type LeaderAnswer } from './leader-calls.ts';
import type { PeerTransport } from './ports.ts';

/** Voters of the cluster as of a log index: whose word is needed. */
type View = { readonly index: number; readonly voters: readonly NodeId[] };

/**
 * Keeps a member that has lost its data out of the group. With an empty log a member is either new, or what it voted
 * and acknowledged is forgotten: then it could help elect a leader that lacks acknowledged writes. The others tell the
 * two apart, for a member publishes its client URLs once it has entries (etcd refuses the same way: "has already been
 * bootstrapped"). Until as many have answered as make a majority with this one, it takes no part in raft.
 *
 * One that never ran itself, or lags, knows nobody, and two of these must not begin anew beside one that has the
 * data. So everybody who can be reached is heard, and has an election timeout to become reachable. And who the voters are
 * may have changed since this member was told: the newest word that knows it as a member counts.
 */
export class Admission {
  readonly #self: NodeId;
  readonly #transport: PeerTransport;
  readonly #clock: Clock;
  readonly #graceMs: number;
  readonly #requestId: number;
  readonly #onAdmitted: () => void;
  readonly #onRefused: (error: Error) => void;
  /** Those that this member was told of, and those that came to it. */
  readonly #asked: Set<NodeId>;
  readonly #strangerTo = new Set<NodeId>();
  #view: View;
  #sinceMs: number | undefined;
  #state: 'asking' | 'admitted' | 'refused';

  /** `voters` are those of the cluster; `isEmpty` says that nothing was ever in this member's log. */
  constructor(options: {
    readonly self: NodeId;
    readonly voters: readonly NodeId[];
    readonly isEmpty: boolean;
    readonly transport: PeerTransport;
    readonly clock: Clock;
    /** How long others have to become reachable, in milliseconds. */
    readonly graceMs: number;
    /** Random: answers to a former life are not ours. */
    readonly requestId: number;
    readonly onAdmitted: () => void;
    readonly onRefused: (error: Error) => void;
  }) {
    this.#self = options.self;
    this.#view = { index: 0, voters: options.voters };
    this.#asked = new Set(options.voters.filter((id) => id !== options.self));
    this.#transport = options.transport;
    this.#clock = options.clock;
    this.#graceMs = options.graceMs;
    this.#requestId = options.requestId;
    this.#onAdmitted = options.onAdmitted;
    this.#onRefused = options.onRefused;
    this.#state = options.isEmpty && this.#asked.size > 0 ? 'asking' : 'admitted';
  }

  get admitted(): boolean {
    return this.#state === 'admitted';
  }

  /** Called each tick, for an answer may be lost, and at once when a peer is connected. */
  ask(connected?: NodeId): void {
    if (this.#state !== 'asking') return;
    this.#sinceMs ??= this.#clock.nowMs();
    if (connected !== undefined) this.#asked.add(connected);
    const body = encodeCall({ type: 'isKnown', id: this.#self });
    for (const peer of this.#asked) {
      if (this.#strangerTo.has(peer)) continue;
      this.#transport.send(peer, { type: 'request', id: this.#requestId, body });
    }
    this.#judge();
  }

  /** True when the response was to this. */
  onResponse(from: NodeId, id: number, body: Uint8Array): boolean {
    if (id !== this.#requestId) return false;
    const answer = this.#state === 'asking' ? decoded(body) : undefined;
    if (answer?.type !== 'isKnown') return true;
    if (answer.known) {
      this.#state = 'refused';
      this.#onRefused(new Error(refusalText(this.#self, from)));
      return true;
    }
    this.#strangerTo.add(from);
    if (answer.index > this.#view.index && answer.voters.length > 0) this.#view = answer;
    this.#judge();
    return true;
  }

  #judge(): void {
    const others = this.#view.voters.filter((id) => id !== this.#self);
    const heard = others.filter((id) => this.#strangerTo.has(id)).length;
    if (heard < Math.ceil(others.length / 2)) return;
    const silent = [...this.#asked].filter((id) => !this.#strangerTo.has(id));
    if (silent.some((id) => this.#transport.connectedForMs(id) !== undefined)) return;
    const now = this.#clock.nowMs();
    if (silent.length > 0 && now - (this.#sinceMs ?? now) < this.#graceMs) return;
    this.#state = 'admitted';
    this.#onAdmitted();
  }
}

/** `undefined` when it makes no sense: it is asked again. */
function decoded(body: Uint8Array): LeaderAnswer | undefined {
  try {
    return decodeAnswer(body);
  } catch {
    return undefined;
  }
}

function refusalText(self: NodeId, from: NodeId): string {
  return (
    `member ${self.toString(16)} has already been bootstrapped, as member ${from.toString(16)} knows, but its data ` +
    'directory is empty. What it voted and acknowledged is lost with its data, so it must not take part under the ' +
    'same id: restore its data directory, or remove the member and add it anew.'
  );
}
