/** Members, leader and health, looked at once for everybody who asks. */
import type { Timer } from '@muster/base';
import { type ClusterState, idToHex, type MemberResource } from '@muster/contract';
import type { MemberInfo } from '@muster/kv';
import { revisionOf, type V1Context, type V1Deps } from './context.ts';

type ClusterListener = (state: ClusterState) => void;

const PROBE_TIMEOUT_MS = 1000;

/** Any answer counts: a member that cannot serve still runs. */
async function probeUrl(clientUrl: string): Promise<boolean> {
  try {
    const url = new URL('/livez', clientUrl);
    const response = await fetch(url, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
    await response.body?.cancel();
    return true;
  } catch {
    return false;
  }
}

/**
 * One bounded poll shared by all listeners, running only while there is one: a status of this member, the member
 * list, and a probe of each other member, `clusterPollMs` after the last one was done. Listeners hear of changes only.
 */
export class ClusterWatch {
  readonly #context: V1Context;
  readonly #memberHealth: V1Deps['memberHealth'];
  readonly #probe: (clientUrl: string) => Promise<boolean>;
  /** With the text of what each was told last. */
  readonly #listeners = new Map<ClusterListener, string>();
  #state: ClusterState | undefined;
  #looking: Promise<ClusterState> | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(context: V1Context, deps: Pick<V1Deps, 'memberHealth' | 'probe'>) {
    this.#context = context;
    this.#memberHealth = deps.memberHealth;
    this.#probe = deps.probe ?? probeUrl;
  }

  /** The state, at most one poll interval old. */
  async state(): Promise<ClusterState> {
    const fresh = this.#context.clock.nowMs() - this.#lookedAtMs < this.#context.limits.clusterPollMs;
    return this.#state && fresh ? this.#state : this.#look();
  }

  /** Calls `listener` with the state as soon as it is known and on every change, until the result is called. */
  listen(listener: ClusterListener): () => void {
    this.#listeners.set(listener, '');
    this.state().then(
      (state) => this.#tell(listener, state, JSON.stringify(state)),
      // Not to be had now: the next look tells it.
      () => {},
    );
    this.#schedule();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#stop();
    };
  }

  #schedule(): void {
    if (this.#timer || this.#listeners.size === 0) return;
    this.#timer = this.#context.clock.schedule(this.#context.limits.clusterPollMs, () => {
      this.#look().then(
        () => this.#again(),
        () => this.#again(),
      );
    });
  }

  #again(): void {
    this.#timer = undefined;
    this.#schedule();
  }

  #stop(): void {
    if (this.#timer) this.#context.clock.cancel(this.#timer);
    this.#timer = undefined;
  }

  #look(): Promise<ClusterState> {
    this.#looking ??= this.#read().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #read(): Promise<ClusterState> {
    const { api } = this.#context;
    const call = this.#context.ownCall();
    // Not linearizable: members and their health are of interest above all when there is no quorum.
    const [status, list] = await Promise.all([
      api.status(call),
      api.memberList({ linearizable: false }, call),
    ]);
    const self = status.header.memberId;
    const members = await Promise.all(list.members.map((m) => this.#member(m, status.leader, self)));
    members.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1));
    const state: ClusterState = {
      members,
      leader: status.leader === 0n ? null : idToHex(status.leader),
      term: status.raftTerm,
      revision: revisionOf(status.header),
    };
    this.#publish(state);
    return state;
  }

  async #member(info: MemberInfo, leader: bigint, self: bigint): Promise<MemberResource> {
    return {
      id: idToHex(info.id),
      name: info.name,
      peerUrls: [...info.peerUrls],
      clientUrls: [...info.clientUrls],
      learner: info.isLearner,
      leader: info.id === leader,
      health: info.id === self ? 'up' : await this.#health(info),
    };
  }

  async #health(info: MemberInfo): Promise<MemberResource['health']> {
    const known = this.#memberHealth?.(info.id);
    if (known !== undefined) return known ? 'up' : 'down';
    const url = info.clientUrls[0];
    if (url === undefined) return 'unknown';
    return (await this.#probe(url)) ? 'up' : 'down';
  }

  #publish(state: ClusterState): void {
    this.#lookedAtMs = this.#context.clock.nowMs();
    this.#state = state;
    const text = JSON.stringify(state);
    for (const listener of this.#listeners.keys()) this.#tell(listener, state, text);
  }

  #tell(listener: ClusterListener, state: ClusterState, text: string): void {
    const told = this.#listeners.get(listener);
    if (told === undefined || told === text) return;
    this.#listeners.set(listener, text);
    listener(state);
  }
}
