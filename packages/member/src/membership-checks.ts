import { KvError } from '@muster/contract';
import type { MemberInfo } from '@muster/kv';
import type { NodeId } from '@muster/raft';

/** How long a member must have been connected to count as healthy, in milliseconds (etcd: 5 s). */
const HEALTHY_MS = 5000;

/** A learner may be promoted once it has this share of the leader's log (etcd: 90 %). */
const READY_SHARE = 0.9;

/** Who the members are, as one of them sees it. */
export type ClusterView = {
  readonly self: NodeId;
  readonly members: readonly MemberInfo[];
  readonly connectedForMs: (member: NodeId) => number | undefined;
};

/**
 * etcd's `strict-reconfig-check` (reference 8.4): refuses what would leave the cluster without a majority of members that
 * run. Each throws the `KvError` that etcd answers.
 */
export function checkAdd(view: ClusterView, isLearner: boolean): void {
  const voters = votersOf(view);
  if (!isLearner) {
    const started = voters.filter(isStarted).length;
    // A lone member may always get a second one, although that one is yet to start.
    const isSecond = started === 1 && voters.length === 1;
    if (!isSecond && started < majority(voters.length + 1)) throw new KvError('MEMBER_NOT_ENOUGH_STARTED');
  }
  if (voters.length > 1 && healthy(view, voters) < majority(voters.length + 1)) {
    throw new KvError('UNHEALTHY_CLUSTER');
  }
}

export function checkRemove(view: ClusterView, leaving: MemberInfo): void {
  if (leaving.isLearner) return;
  const voters = votersOf(view);
  const staying = voters.filter((member) => member.id !== leaving.id);
  const started = staying.filter(isStarted).length;
  if (staying.length === 0 || started < majority(staying.length))
    throw new KvError('MEMBER_NOT_ENOUGH_STARTED');
  // One that is down is no part of the majority that runs.
  if (leaving.id !== view.self && view.connectedForMs(leaving.id) === undefined) return;
  if (healthy(view, voters) - 1 < majority(staying.length)) throw new KvError('UNHEALTHY_CLUSTER');
}

export function checkPromote(view: ClusterView): void {
  const voters = votersOf(view);
  const started = voters.filter(isStarted).length + 1;
  if (started < majority(voters.length + 1)) throw new KvError('MEMBER_NOT_ENOUGH_STARTED');
}

/** Whether a learner whose log reaches `match` has caught up with a leader whose log reaches `leaderMatch`. */
export function isCaughtUp(match: number, leaderMatch: number): boolean {
  return match >= leaderMatch * READY_SHARE;
}

/** One that has run publishes its name. */
export function isStarted(member: MemberInfo): boolean {
  return member.name !== '';
}

function votersOf(view: ClusterView): readonly MemberInfo[] {
  return view.members.filter((member) => !member.isLearner);
}

function healthy(view: ClusterView, voters: readonly MemberInfo[]): number {
  const isHealthy = ({ id }: MemberInfo) => id === view.self || (view.connectedForMs(id) ?? 0) > HEALTHY_MS;
  return voters.filter(isHealthy).length;
}

function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/** What etcd takes for peer URLs: scheme, host and port, and nothing behind them. Throws `MEMBER_BAD_URLS`. */
export function checkedPeerUrls(urls: readonly string[]): readonly string[] {
  const trimmed = urls.map((url) => url.trim());
  const isBad = (url: string) => {
    const port = /^https?:\/\/(?:\[[0-9a-fA-F:.%]+\]|[^\s:/?#@[\]]+):(\d{1,5})$/.exec(url)?.[1];
    return port === undefined || Number(port) > 65_535;
  };
  const bad = trimmed.length === 0 ? 'none' : trimmed.find(isBad);
  if (bad !== undefined) {
    throw new KvError('MEMBER_BAD_URLS', {
      detail: `got ${bad}; expected URLs such as http://10.0.0.1:2380`,
    });
  }
  return [...new Set(trimmed)].sort();
}
