/** Ids as etcd computes them (reference 2.12), so that an operator's notes stay true. */
import { createHash } from 'node:crypto';

/** First 8 bytes, big-endian, of SHA-1 over the sorted peer URLs and the cluster token, or at run time the time. */
export function memberIdOf(peerUrls: readonly string[], token: string): bigint {
  return sha1Prefix([...peerUrls].sort().join('') + token);
}

/** First 8 bytes of SHA-1 over the sorted member ids, 8 bytes big-endian each. */
export function clusterIdOf(memberIds: readonly bigint[]): bigint {
  const bytes = Buffer.alloc(8 * memberIds.length);
  const sorted = [...memberIds].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  for (const [i, id] of sorted.entries()) bytes.writeBigUInt64BE(id, 8 * i);
  return sha1Prefix(bytes);
}

function sha1Prefix(data: string | Uint8Array): bigint {
  return createHash('sha1').update(data).digest().readBigUInt64BE(0);
}
