import type { EtcdClient } from '../client.ts';
import { Exit, Failure } from '../failure.ts';
import type { Call, Run } from '../line/command.ts';
import { bar, progressLine } from '../progress.ts';
import { bytesOf } from '../range.ts';
import type { DATASCALE_FLAGS } from '../tree/other.ts';
import { inParallel } from '../workers.ts';
import { checkEmpty, cleanUp } from './check-keys.ts';
import { residentBytes } from './server-metrics.ts';

type Load = { readonly keys: number; readonly clients: number };

/** etcdctl's models of use. */
const LOADS: ReadonlyMap<string, Load> = new Map([
  ['s', { keys: 10_000, clients: 50 }],
  ['m', { keys: 100_000, clients: 200 }],
  ['l', { keys: 1_000_000, clients: 500 }],
  ['xl', { keys: 3_000_000, clients: 500 }],
]);
const KEY_BYTES = 512;
const VALUE_BYTES = 512;
const MEGABYTE = 1e6;

/** How much more memory the first endpoint's process needs for so many keys. */
export const checkDatascale: Run<typeof DATASCALE_FLAGS> = async (call) => {
  const load = LOADS.get(call.flags.load);
  if (!load) throw new Failure(`unknown load option ${call.flags.load}`, Exit.BAD_FEATURE);
  const endpoint = call.globals.endpoints[0] as string;
  const client = await call.connect();
  await checkEmpty(client, call.flags.prefix, call.signal);
  const before = await residentBytes(endpoint, call.globals, call.signal);
  call.io.out(
    `Start data scale check for work load [${load.keys} key-value pairs, ${KEY_BYTES + VALUE_BYTES} bytes per key-value, ${load.clients} concurrent clients].\n`,
  );
  let after = before;
  try {
    await fill(call, client, load);
    after = await residentBytes(endpoint, call.globals, call.signal);
  } finally {
    await cleanUp(call, client);
  }
  if (after === 0) {
    throw new Failure(`FAIL: no process_resident_memory_bytes among the metrics of ${endpoint}`);
  }
  const used = ((after - before) / MEGABYTE).toFixed(2);
  call.io.out(`PASS: Approximate system memory used : ${used} MB.\n`);
};

async function fill(call: Call<typeof DATASCALE_FLAGS>, client: EtcdClient, load: Load): Promise<void> {
  const progress = progressLine(call.io);
  const value = new Uint8Array(VALUE_BYTES).fill('x'.charCodeAt(0));
  let next = 0;
  try {
    await inParallel(load.clients, async () => {
      while (next < load.keys && !call.signal.aborted) {
        const slot = next++;
        const key = bytesOf(
          `${call.flags.prefix}${String(slot).padStart(KEY_BYTES - call.flags.prefix.length, '0')}`,
        );
        await client.api.put({ key, value }, client.options(call.signal));
        progress.update(`${bar(slot, load.keys)} ${slot} keys`);
      }
    });
  } finally {
    progress.done();
  }
  if (call.signal.aborted) throw new Failure('interrupted', Exit.INTERRUPTED);
}
