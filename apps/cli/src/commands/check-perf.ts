import type { EtcdClient } from '../client.ts';
import { Exit, errorText, Failure } from '../failure.ts';
import type { Call, Run } from '../line/command.ts';
import { pause } from '../pause.ts';
import { bar, progressLine } from '../progress.ts';
import { bytesOf } from '../range.ts';
import type { PERF_FLAGS } from '../tree/other.ts';
import { inParallel } from '../workers.ts';
import { checkEmpty, cleanUp } from './check-keys.ts';

type Load = { readonly perSecond: number; readonly clients: number };

/** etcdctl's models of use: writes a second, clients at once. */
const LOADS: ReadonlyMap<string, Load> = new Map([
  ['s', { perSecond: 150, clients: 50 }],
  ['m', { perSecond: 1_000, clients: 200 }],
  ['l', { perSecond: 8_000, clients: 500 }],
  ['xl', { perSecond: 15_000, clients: 1_000 }],
]);
const SECONDS = 60;
const VALUE_BYTES = 1024;
/** What passes, as etcdctl judges. */
const THROUGHPUT_SHARE_MIN = 0.9;
const SLOWEST_SECONDS_MAX = 0.5;
const STDDEV_SECONDS_MAX = 0.1;

type PerfResult = {
  readonly writes: number;
  readonly seconds: number;
  readonly slowest: number;
  readonly stddev: number;
  readonly errors: ReadonlyMap<string, number>;
};

export const checkPerf: Run<typeof PERF_FLAGS> = async (call) => {
  const load = LOADS.get(call.flags.load);
  if (!load) throw new Failure(`unknown load option ${call.flags.load}`, Exit.BAD_FEATURE);
  const client = await call.connect();
  await checkEmpty(client, call.flags.prefix, call.signal);
  const result = await measure(call, client, load);
  await cleanUp(call, client);
  const { lines, passed } = judge(result, load.perSecond);
  for (const line of lines) call.io.out(`${line}\n`);
  if (!passed) throw new Failure('', Exit.ERROR);
};

/** Writes at an even pace: a client takes the next free slot and waits for its time. */
async function measure(call: Call<typeof PERF_FLAGS>, client: EtcdClient, load: Load): Promise<PerfResult> {
  const progress = progressLine(call.io);
  const value = new Uint8Array(VALUE_BYTES).fill('x'.charCodeAt(0));
  const total = load.perSecond * SECONDS;
  const startedAt = performance.now();
  const errors = new Map<string, number>();
  const spread = new Spread();
  let next = 0;
  await inParallel(load.clients, async () => {
    while (next < total && !call.signal.aborted) {
      const slot = next++;
      const waitMs = startedAt + (slot * 1000) / load.perSecond - performance.now();
      if (waitMs > 0) await pause(waitMs, call.signal);
      const sentAt = performance.now();
      if (sentAt - startedAt > SECONDS * 1000 + 1000) return;
      try {
        await client.api.put(
          { key: bytesOf(`${call.flags.prefix}${slot}`), value },
          client.options(call.signal),
        );
        spread.add((performance.now() - sentAt) / 1000);
      } catch (error) {
        const text = errorText(error);
        errors.set(text, (errors.get(text) ?? 0) + 1);
      }
      progress.update(`${bar(slot, total)} ${spread.count} writes`);
    }
  });
  progress.done();
  const seconds = (performance.now() - startedAt) / 1000;
  return { writes: spread.count, seconds, slowest: spread.largest, stddev: spread.deviation, errors };
}

/** Mean and deviation of what is added, without keeping it. */
class Spread {
  count = 0;
  largest = 0;
  #mean = 0;
  #squares = 0;

  add(value: number): void {
    this.count++;
    this.largest = Math.max(this.largest, value);
    const off = value - this.#mean;
    this.#mean += off / this.count;
    this.#squares += off * (value - this.#mean);
  }

  get deviation(): number {
    return this.count < 2 ? 0 : Math.sqrt(this.#squares / (this.count - 1));
  }
}

export function judge(
  { writes, seconds, slowest, stddev, errors }: PerfResult,
  wantedPerSecond: number,
): { readonly lines: readonly string[]; readonly passed: boolean } {
  const perSecond = Math.floor(writes / seconds) + (writes > 0 ? 1 : 0);
  const checks: readonly (readonly [boolean, string, string])[] = [
    [
      writes / seconds / wantedPerSecond > THROUGHPUT_SHARE_MIN,
      `Throughput is ${perSecond} writes/s`,
      `Throughput too low: ${perSecond} writes/s`,
    ],
    [
      slowest <= SLOWEST_SECONDS_MAX,
      `Slowest request took ${slowest.toFixed(6)}s`,
      `Slowest request took too long: ${slowest.toFixed(6)}s`,
    ],
    [
      stddev <= STDDEV_SECONDS_MAX,
      `Stddev is ${stddev.toFixed(6)}s`,
      `Stddev too high: ${stddev.toFixed(6)}s`,
    ],
  ];
  const lines = [
    ...(errors.size > 0 ? ['FAIL: too many errors'] : []),
    ...[...errors].map(([text, count]) => `FAIL: ERROR(${text}) -> ${count}`),
    ...checks.map(([good, pass, fail]) => (good ? `PASS: ${pass}` : `FAIL: ${fail}`)),
  ];
  const passed = errors.size === 0 && checks.every(([good]) => good);
  return { lines: [...lines, passed ? 'PASS' : 'FAIL'], passed };
}
