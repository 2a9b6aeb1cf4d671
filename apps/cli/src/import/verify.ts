import { createHash } from 'node:crypto';
import type { EtcdClient } from '../client.ts';
import { Failure } from '../failure.ts';
import { type KeyRange, pagesByKey } from './source.ts';

type Digest = { readonly keys: number; readonly hash: string };

/** Count and SHA-256 of all keys with their values at a revision, but for one key. */
async function digest(
  client: EtcdClient,
  range: KeyRange,
  revision: number,
  without: Uint8Array,
  signal: AbortSignal,
): Promise<Digest> {
  const hash = createHash('sha256');
  const length = Buffer.alloc(8);
  let keys = 0;
  for await (const kvs of pagesByKey(client, range, revision, signal)) {
    for (const { key, value } of kvs) {
      if (Buffer.from(key).equals(without)) continue;
      keys++;
      length.writeUInt32BE(key.length, 0);
      length.writeUInt32BE(value.length, 4);
      hash.update(length).update(key).update(value);
    }
  }
  return { keys, hash: hash.digest('hex') };
}

/** Both clusters hold the same, each at its own revision. */
export async function verifySame(
  source: { readonly client: EtcdClient; readonly revision: number },
  target: { readonly client: EtcdClient; readonly revision: number },
  range: KeyRange,
  marker: Uint8Array,
  signal: AbortSignal,
): Promise<Digest> {
  const [theirs, ours] = await Promise.all(
    [source, target].map(({ client, revision }) => digest(client, range, revision, marker, signal)),
  );
  if (theirs && ours && theirs.keys === ours.keys && theirs.hash === ours.hash) return ours;
  throw new Failure(
    `the destination differs from the source: ${ours?.keys} keys, hash ${ours?.hash}; expected ${theirs?.keys} keys, ` +
      `hash ${theirs?.hash} (source revision ${source.revision}, destination revision ${target.revision})`,
  );
}
