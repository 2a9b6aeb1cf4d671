import type { EtcdClient } from '../client.ts';
import { connectDestination } from '../destination.ts';
import { watchMessages } from '../events.ts';
import { badArgs, Failure } from '../failure.ts';
import type { Call, Run } from '../line/command.ts';
import { canceledWatchText } from '../print/kv-views.ts';
import { bytesOf, prefixEnd } from '../range.ts';
import { byRevision, operationOf } from '../replay.ts';
import type { MIRROR_FLAGS } from '../tree/other.ts';

const PAGE_KEYS = 1_000;
const REPORT_MS = 30_000;

type MirrorCall = Call<typeof MIRROR_FLAGS>;
type Mirror = {
  readonly source: EtcdClient;
  readonly target: EtcdClient;
  readonly signal: AbortSignal;
  readonly opsMax: number;
  rename(key: Uint8Array): Uint8Array;
  count: number;
};

/** Copies what is there, then every change, until it is stopped. */
export const makeMirror: Run<typeof MIRROR_FLAGS> = async (call) => {
  const { args, flags } = call;
  const [destination] = args;
  if (destination === undefined || args.length !== 1)
    throw badArgs('make-mirror takes one destination argument');
  if (flags['dest-prefix'] !== '' && flags['no-dest-prefix']) {
    throw badArgs('`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one');
  }
  if (flags['max-txn-ops'] < 1) throw badArgs('--max-txn-ops: expected at least 1');
  const mirror: Mirror = {
    source: await call.connect(),
    target: await connectDestination(call, destination),
    signal: call.signal,
    opsMax: flags['max-txn-ops'],
    rename: renamer(flags),
    count: 0,
  };
  const reports = setInterval(() => call.io.out(`${mirror.count}\n`), REPORT_MS);
  try {
    const from = flags.rev > 0 ? flags.rev - 1 : await copyAll(mirror, call);
    await follow(mirror, flags.prefix, from + 1);
  } finally {
    clearInterval(reports);
    call.io.out(`${mirror.count}\n`);
  }
};

function renamer(flags: MirrorCall['flags']): (key: Uint8Array) => Uint8Array {
  if (flags['dest-prefix'] === '' && !flags['no-dest-prefix']) return (key) => key;
  const from = bytesOf(flags.prefix).length;
  const to = bytesOf(flags['dest-prefix']);
  return (key) => Buffer.concat([to, key.subarray(from)]);
}

/** Pages of one revision, in the order of keys. Gives that revision. */
async function copyAll(mirror: Mirror, { flags }: MirrorCall): Promise<number> {
  const { source, target, signal } = mirror;
  const range = mirrored(flags.prefix);
  let { key } = range;
  let revision = 0;
  for (;;) {
    const page = await source.api.range(
      { key, rangeEnd: range.rangeEnd, limit: PAGE_KEYS, ...(revision > 0 && { revision }) },
      source.options(signal),
    );
    revision ||= page.header.revision ?? 0;
    for (const kv of page.kvs) {
      await target.api.put({ key: mirror.rename(kv.key), value: kv.value }, target.options(signal));
      mirror.count++;
    }
    const last = page.kvs.at(-1);
    if (!page.more || !last) return revision;
    key = Buffer.concat([last.key, Uint8Array.of(0)]);
  }
}

function mirrored(prefix: string) {
  if (prefix === '') return { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) };
  const key = bytesOf(prefix);
  return { key, rangeEnd: prefixEnd(key) };
}

async function follow(mirror: Mirror, prefix: string, startRevision: number): Promise<void> {
  const { source, target, signal } = mirror;
  for await (const message of watchMessages(source.api, { ...mirrored(prefix), startRevision }, signal)) {
    if (message.type === 'canceled') throw new Failure(`watch was canceled (${canceledWatchText(message)})`);
    if (message.type !== 'events') continue;
    for (const { events } of byRevision(message.batch.events)) {
      for (let i = 0; i < events.length; i += mirror.opsMax) {
        const part = events.slice(i, i + mirror.opsMax);
        const success = part.map((event) => operationOf(event, mirror.rename(event.kv.key), 0n));
        await target.api.txn({ compare: [], success, failure: [] }, target.options(signal));
        mirror.count += part.length;
      }
    }
  }
}
