import type { NodeId } from '@muster/raft';
import { decodeAnswer, encodeCall, type LeaderAnswer } from './leader-calls.ts';
import type { PeerTransport } from './ports.ts';

/**
 * Keeps a member that has lost its data out of the group. With an empty log a member is either new, or what it voted
 * and acknowledged is forgotten: then it could help elect a leader that lacks acknowledged writes. The others tell the
 * two apart, for a member publishes its client URLs once it has entries (etcd refuses the same way: "has already been
 * bootstrapped"). Until as many have answered as make a majority with this one, it takes no part in raft.
 */
export class Admission {
  readonly #self: NodeId;
  readonly #peers: readonly NodeId[];
  readonly #transport: PeerTransport;
  readonly #requestId: number;
  readonly #onAdmitted: () => void;
  readonly #onRefused: (error: Error) => void;
  readonly #strangerTo = new Set<NodeId>();
  #state: 'asking' | 'admitted' | 'refused';

  /** `voters` are those of the cluster; `isEmpty` says that nothing was ever in this member's log. */
  constructor(options: {
    readonly self: NodeId;
    readonly voters: readonly NodeId[];
    readonly isEmpty: boolean;
    readonly transport: PeerTransport;
    /** Random: answers to a former life are not ours. */
    readonly requestId: number;
    readonly onAdmitted: () => void;
    readonly onRefused: (error: Error) => void;
  }) {
    this.#self = options.self;
    this.#peers = options.voters.filter((id) => id !== options.self);
    this.#transport = options.transport;
    this.#requestId = options.requestId;
    this.#onAdmitted = options.onAdmitted;
    this.#onRefused = options.onRefused;
    this.#state = options.isEmpty && this.#peers.length > 0 ? 'asking' : 'admitted';
  }

  get admitted(): boolean {
    return this.#state === 'admitted';
  }

  /** Called at once when a peer is connected, and each tick: an answer may be lost. */
  ask(): void {
    if (this.#state !== 'asking') return;
    const body = encodeCall({ type: 'isKnown', id: this.#self });
    for (const peer of this.#peers) {
      if (this.#strangerTo.has(peer)) continue;
      this.#transport.send(peer, { type: 'request', id: this.#requestId, body });
    }
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
    if (this.#strangerTo.size >= Math.ceil(this.#peers.length / 2)) {
      this.#state = 'admitted';
      this.#onAdmitted();
    }
    return true;
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
