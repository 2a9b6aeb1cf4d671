import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CoreApi, Event, WatchHandle, WatchRequest } from '@muster/kv';
import fc from 'fast-check';
import { SimCluster } from '../../packages/member/test/sim-cluster.ts';
import { EtcdModel } from './etcd-model.ts';
import { type Step, step } from './random-ops.ts';
import { callOf, outcome } from './steps.ts';

/**
 * A whole member, with power cuts, against the plain model: the same random steps, the same answers, errors, watch
 * events and cancels. A failure prints its seed and path; MODEL_SEED and MODEL_PATH replay it, MODEL_RUNS asks for more.
 */
const RUNS = Number(process.env.MODEL_RUNS ?? 150);

/** What one side of a watch got. */
class Seen {
  readonly events: Event[] = [];
  end: string | undefined;
  created = false;
  handle!: WatchHandle;

  constructor(api: CoreApi, request: WatchRequest) {
    this.handle = api.watch(request, (response) => {
      if (response.type === 'created') this.created = true;
      if (response.type === 'events') this.events.push(...response.batch.events);
      if (response.type === 'canceled') this.end = `${response.compactRevision} ${response.reason}`;
      return true;
    });
  }

  /** Nothing more comes until something is written. */
  get settled(): boolean {
    return this.end !== undefined || this.handle.synced;
  }
}

class Twins {
  readonly cluster = new SimCluster(1, 'model');
  readonly model = new EtcdModel(this.cluster.clock);
  readonly watches: { real: Seen; model: Seen }[] = [];
  readonly hashes = new Map<number, number>();
  api!: CoreApi;

  async start(): Promise<void> {
    this.api = (await this.cluster.elect()).api;
  }

  async run(next: Step): Promise<void> {
    if (next.type === 'watch') return this.watch(next);
    if (next.type === 'restart') return this.restart();
    const call = callOf(next, this.model.revision);
    const expected = await outcome(call(this.model));
    const actual = await this.cluster.wait(outcome(call(this.api)));
    assert.deepEqual(actual, expected);
    await this.compareWatches();
  }

  /** A power cut: what was acknowledged is there afterwards, also what it hashes to. */
  async restart(): Promise<void> {
    const { revision } = this.model;
    const before = (await this.cluster.wait(this.api.hashKv({ revision }))).hash;
    for (const { model } of this.watches.splice(0)) model.handle.cancel();
    const [member] = this.cluster.members;
    assert.ok(member);
    this.cluster.crash(member);
    this.cluster.start(member);
    await this.start();
    const after = await this.cluster.wait(this.api.hashKv({ revision }));
    assert.equal(after.hash, before);
    assert.equal(after.header.revision, revision);
  }

  async watch(given: Extract<Step, { type: 'watch' }>): Promise<void> {
    const { type: _, back, ...request } = given;
    const startRevision = back === undefined ? 0 : Math.max(1, this.model.revision - back);
    const both = {
      model: new Seen(this.model, { ...request, startRevision }),
      real: new Seen(this.api, { ...request, startRevision }),
    };
    this.watches.push(both);
    await this.compareWatches();
  }

  /** Lets every watch get what there is, then compares. */
  async compareWatches(): Promise<void> {
    const settled = () => this.watches.every(({ real, model }) => real.settled && model.settled);
    assert.ok(settled() || (await this.cluster.run(2000, settled)), 'a watch hangs');
    for (const { real, model } of this.watches) {
      assert.equal(real.end, model.end);
      assert.equal(real.created, model.created);
      assert.deepEqual(real.events, model.events);
    }
  }
}

test('a member answers, fails, notifies and survives as the model does', async () => {
  const replay = {
    ...(process.env.MODEL_SEED && { seed: Number(process.env.MODEL_SEED) }),
    ...(process.env.MODEL_PATH && { path: process.env.MODEL_PATH }),
  };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 80, size: 'max' }), async (steps) => {
      const twins = new Twins();
      await twins.start();
      for (const next of steps) await twins.run(next);
    }),
    { numRuns: RUNS, ...replay },
  );
});
