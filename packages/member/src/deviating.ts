import type { HashKvResult } from '@muster/kv';
import type { NodeId } from '@muster/raft';

/** What a member holds; only comparable answers are put together. */
export type Answer = { readonly member: NodeId; readonly result: HashKvResult };

/**
 * Who is given the alarm: all that do not hold what a majority of the cluster holds. Without such a majority nobody can
 * say who is right, and as in etcd the alarm is that of member 0.
 */
export function deviating(answers: readonly Answer[], clusterSize: number): readonly NodeId[] {
  const counts = new Map<number, number>();
  for (const { result } of answers) counts.set(result.hash, (counts.get(result.hash) ?? 0) + 1);
  if (counts.size < 2) return [];
  const [hash, count] = [...counts].sort((a, b) => b[1] - a[1])[0] as [number, number];
  if (count <= clusterSize / 2) return [0n];
  return answers.filter(({ result }) => result.hash !== hash).map(({ member }) => member);
}
