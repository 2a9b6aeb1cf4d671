import type { EtcdClient } from '../client.ts';
import { Exit, Failure } from '../failure.ts';
import type { Call } from '../line/command.ts';
import { bytesOf, prefixEnd } from '../range.ts';
import type { PERF_FLAGS } from '../tree/other.ts';

function rangeOfPrefix(prefix: string) {
  const key = bytesOf(prefix);
  return { key, rangeEnd: prefixEnd(key) };
}

/** A check writes only where nothing is, and so deletes nothing of anybody's. */
export async function checkEmpty(client: EtcdClient, prefix: string, signal: AbortSignal): Promise<void> {
  if (prefix === '') throw new Failure('--prefix: expected at least one character', Exit.BAD_ARGS);
  const { kvs } = await client.api.range({ ...rangeOfPrefix(prefix), limit: 1 }, client.options(signal));
  if (kvs.length === 0) return;
  throw new Failure(
    `prefix ${JSON.stringify(prefix)} has keys. Delete with etcdctl del --prefix ${prefix} first.`,
    Exit.INVALID_INPUT,
  );
}

/** Also after an interruption. */
export async function cleanUp(call: Call<typeof PERF_FLAGS>, client: EtcdClient): Promise<void> {
  const { prefix } = call.flags;
  const { header } = await client.api.deleteRange(rangeOfPrefix(prefix), {});
  if (call.flags['auto-compact']) {
    call.io.out(`Compacting with revision ${header.revision ?? 0}\n`);
    await client.api.compact({ revision: header.revision ?? 0, physical: true }, {});
    call.io.out(`Compacted with revision ${header.revision ?? 0}\n`);
  }
  if (!call.flags['auto-defrag']) return;
  for (const endpoint of call.globals.endpoints) {
    const { api } = await call.connect([endpoint]);
    call.io.out(`Defragmenting ${JSON.stringify(endpoint)}\n`);
    await api.defragment({});
    call.io.out(`Defragmented ${JSON.stringify(endpoint)}\n`);
  }
}
