/** Majority arithmetic. A joint decision needs a majority of both sets; an empty set has no say (thesis 4.3). */
import type { NodeId } from './messages.ts';

export type VoteResult = 'won' | 'lost' | 'pending';

const scratch: number[] = [];

/**
 * The greatest value that a majority of `members` has reached. With no members it is Infinity, so that the minimum
 * with another set is that set's.
 */
export function majorityValue<T>(members: readonly T[], value: (member: T) => number): number {
  const n = members.length;
  if (n === 0) return Number.POSITIVE_INFINITY;
  // Insertion sort, ascending: groups are small, and this runs for every acknowledgement.
  for (let i = 0; i < n; i++) {
    const v = value(members[i] as T);
    let at = i;
    for (; at > 0 && (scratch[at - 1] as number) > v; at--) scratch[at] = scratch[at - 1] as number;
    scratch[at] = v;
  }
  return scratch[n - (Math.floor(n / 2) + 1)] as number;
}

export function jointValue<T>(
  incoming: readonly T[],
  outgoing: readonly T[],
  value: (member: T) => number,
): number {
  return Math.min(majorityValue(incoming, value), majorityValue(outgoing, value));
}

export function voteResult(voters: readonly NodeId[], votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  if (voters.length === 0) return 'won';
  let yes = 0;
  let open = 0;
  for (const id of voters) {
    const vote = votes.get(id);
    if (vote === undefined) open++;
    else if (vote) yes++;
  }
  const needed = Math.floor(voters.length / 2) + 1;
  if (yes >= needed) return 'won';
  return yes + open >= needed ? 'pending' : 'lost';
}

export function jointVoteResult(
  incoming: readonly NodeId[],
  outgoing: readonly NodeId[],
  votes: ReadonlyMap<NodeId, boolean>,
): VoteResult {
  const a = voteResult(incoming, votes);
  const b = voteResult(outgoing, votes);
  if (a === b) return a;
  return a === 'lost' || b === 'lost' ? 'lost' : 'pending';
}
