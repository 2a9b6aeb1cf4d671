/** What a node does about a new configuration in force (thesis chapter 4). */

import { flushAppends } from './append.ts';
import { encodeConfChange } from './conf-change-codec.ts';
import { confirmReads, maybeCommit, propose } from './leader.ts';
import { isJoint, isVoter } from './membership.ts';
import { NONE, type NodeId } from './messages.ts';
import type { RaftState } from './state.ts';
import { abortTransfer, orderElection } from './transfer.ts';

const LEAVE_JOINT = encodeConfChange({ steps: [], context: new Uint8Array(0) });

export function afterConfChange(s: RaftState): void {
  if (s.role !== 'leader') {
    // A removed or demoted node must not go on asking for votes.
    if (s.role !== 'follower' && !s.promotable) s.becomeFollower(s.term, NONE);
    return;
  }
  const transferee = s.progress.get(s.transferee);
  if (s.transferee !== NONE && (transferee === undefined || transferee.isLearner)) abortTransfer(s);
  // The quorum may be smaller now, and what waits for it complete.
  maybeCommit(s);
  confirmReads(s);
  if (!isVoter(s.conf, s.id)) resign(s);
}

/**
 * A leader that is not a voter any more lets go (thesis section 4.2.2), once the others have been told what is
 * committed: they could not elect by the new configuration before. The one with the longest log follows it.
 */
function resign(s: RaftState): void {
  flushAppends(s);
  let best: { readonly id: NodeId; readonly match: number } | undefined;
  for (const pr of s.incoming) if (pr.recentActive && pr.match > (best?.match ?? -1)) best = pr;
  if (best) orderElection(s, best.id);
  s.becomeFollower(s.term, NONE);
}

/** The leader proposes to leave a joint configuration as soon as it is applied (thesis section 4.3). */
export function maybeLeaveJoint(s: RaftState): void {
  if (s.role !== 'leader' || !isJoint(s.conf) || !s.conf.autoLeave) return;
  if (s.pendingConfIndex > s.log.applied) return;
  // Refused while leadership is being handed over or too much waits; the next tick tries again.
  propose(s, [{ type: 'config', data: LEAVE_JOINT }]);
}
