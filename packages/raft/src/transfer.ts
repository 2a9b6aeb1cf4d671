/** Leadership transfer (thesis section 3.10): bring the target up to date, then tell it to stand at once. */
import { NONE, type NodeId } from './messages.ts';
import type { Progress } from './progress.ts';
import type { RaftState } from './state.ts';

export type TransferResult =
  | { readonly accepted: true }
  | { readonly accepted: false; readonly reason: 'noLeader' | 'notVoter' | 'inProgress' };

/** Starts handing over. It is given up when an election timeout passes without a new leader. */
export function startTransfer(s: RaftState, target: NodeId): TransferResult {
  if (target === s.id) {
    s.transferee = NONE;
    return { accepted: true };
  }
  const pr = s.progress.get(target);
  if (pr === undefined || pr.isLearner) return { accepted: false, reason: 'notVoter' };
  if (s.transferee === target) return { accepted: false, reason: 'inProgress' };
  s.transferee = target;
  s.electionElapsed = 0;
  if (!continueTransfer(s, pr)) pr.nudge = pr.state === 'replicate';
  return { accepted: true };
}

export function receiveTransferRequest(s: RaftState, target: NodeId): void {
  startTransfer(s, target);
}

/** Sends the order when the target has the whole log. */
export function continueTransfer(s: RaftState, pr: Progress): boolean {
  if (s.transferee !== pr.id || pr.match !== s.log.lastIndex) return false;
  orderElection(s, pr.id);
  return true;
}

export function abortTransfer(s: RaftState): void {
  s.transferee = NONE;
}

export function orderElection(s: RaftState, target: NodeId): void {
  s.send({ type: 'timeoutNow', from: s.id, to: target, term: s.term });
}
