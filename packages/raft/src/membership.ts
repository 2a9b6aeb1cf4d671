import type { ConfState, NodeId } from './messages.ts';

/** One step of a membership change. `addVoter` promotes a learner, `addLearner` demotes a voter. */
export type ConfChangeStep = {
  readonly type: 'addVoter' | 'addLearner' | 'remove';
  readonly node: NodeId;
};

/**
 * A membership change. At most one voter added, removed, promoted or demoted is a simple change; more go through
 * joint consensus (thesis section 4.3), which is left by itself once committed. Without steps it leaves a joint
 * configuration: the leader proposes that one. `context` is the proposer's, carried along untouched.
 */
export type ConfChange = { readonly steps: readonly ConfChangeStep[]; readonly context: Uint8Array };

export const EMPTY_CONF_STATE: ConfState = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

export function isJoint(conf: ConfState): boolean {
  return conf.votersOutgoing.length > 0;
}

export function isVoter(conf: ConfState, id: NodeId): boolean {
  return conf.voters.includes(id) || conf.votersOutgoing.includes(id);
}

export function isMember(conf: ConfState, id: NodeId): boolean {
  return isVoter(conf, id) || conf.learners.includes(id);
}

/** Every member once: voters of both sets, then learners. */
export function memberIds(conf: ConfState): NodeId[] {
  return [...new Set([...conf.voters, ...conf.votersOutgoing, ...conf.learners])];
}

/** The configuration after `change`, or the reason why it does not fit this one. Pure: all members agree. */
export function nextConfState(conf: ConfState, change: ConfChange): ConfState | string {
  if (change.steps.length === 0) return leaveJoint(conf);
  if (isJoint(conf)) return 'a joint configuration is being left; one change at a time';
  const target = applySteps(conf, change.steps);
  if (typeof target === 'string') return target;
  const changed = symmetricDifference(conf.voters, target.voters);
  if (conf.voters.length === 0 || changed <= 1) {
    return { ...EMPTY_CONF_STATE, voters: sorted(target.voters), learners: sorted(target.learners) };
  }
  return enterJoint(conf, target);
}

type Target = { readonly voters: ReadonlySet<NodeId>; readonly learners: ReadonlySet<NodeId> };

function applySteps(conf: ConfState, steps: readonly ConfChangeStep[]): Target | string {
  const voters = new Set(conf.voters);
  const learners = new Set(conf.learners);
  for (const { type, node } of steps) {
    if (node === 0n) return 'a member id is 0';
    voters.delete(node);
    learners.delete(node);
    if (type === 'addVoter') voters.add(node);
    if (type === 'addLearner') learners.add(node);
  }
  return voters.size === 0 ? 'no voter would be left' : { voters, learners };
}

/** A voter that becomes a learner stays a voter of the outgoing set until the end: it cannot be both. */
function enterJoint(conf: ConfState, target: Target): ConfState {
  const outgoing = new Set(conf.voters);
  return {
    voters: sorted(target.voters),
    votersOutgoing: sorted(outgoing),
    learners: sorted([...target.learners].filter((id) => !outgoing.has(id))),
    learnersNext: sorted([...target.learners].filter((id) => outgoing.has(id))),
    autoLeave: true,
  };
}

function leaveJoint(conf: ConfState): ConfState | string {
  if (!isJoint(conf)) return 'not in a joint configuration';
  return {
    ...EMPTY_CONF_STATE,
    voters: conf.voters,
    learners: sorted([...conf.learners, ...conf.learnersNext]),
  };
}

function symmetricDifference(before: readonly NodeId[], after: ReadonlySet<NodeId>): number {
  const kept = before.filter((id) => after.has(id)).length;
  return before.length + after.size - 2 * kept;
}

function sorted(ids: Iterable<NodeId>): NodeId[] {
  return [...ids].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}
