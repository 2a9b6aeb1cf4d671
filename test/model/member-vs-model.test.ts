import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareBytes } from '@muster/base';
import { KvError } from '@muster/contract';
import type { EtcdApi, Event, TxnResult, WatchHandle, WatchRequest } from '@muster/kv';
import fc from 'fast-check';
import { SimCluster } from '../../packages/member/test/sim-cluster.ts';
import { EtcdModel } from './etcd-model.ts';
import { type Step, step } from './random-ops.ts';

/**
 * A whole member, with power cuts, against the plain model: the same random steps, the same answers, errors, watch
 * events and cancels. A failure prints its seed and path; MODEL_SEED and MODEL_PATH replay it, MODEL_RUNS asks for more.
 */
const RUNS = Number(process.env.MODEL_RUNS ?? 150);

type Outcome = { readonly value: unknown } | { readonly error: string };

/** What one side of a watch got. */
class Seen {
  readonly events: Event[] = [];
  end: string | undefined;
  created = false;
  handle!: WatchHandle;

  constructor(api: EtcdApi, request: WatchRequest) {
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
  api!: EtcdApi;

  async start(): Promise<void> {
    this.api = (await this.cluster.elect()).api;
  }

  async run(next: Step): Promise<void> {
    if (next.type === 'watch') return this.watch(next);
    if (next.type === 'restart') return this.restart();
    const call = callOf(next, this.model);
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

function callOf(
  next: Exclude<Step, { type: 'watch' | 'restart' }>,
  model: EtcdModel,
): (api: EtcdApi) => Promise<object> {
  const at = (back: number) => model.revision - back;
  switch (next.type) {
    case 'range': {
      const { op, back } = next;
      const request = back === undefined ? op : { ...op, revision: Math.max(0, at(back)) };
      return (api) => api.range(request);
    }
    case 'put':
      return (api) => api.put(next.op);
    case 'deleteRange':
      return (api) => api.deleteRange(next.op);
    case 'txn':
      return (api) => api.txn(next.op);
    case 'compact': {
      const request = { revision: at(next.back), physical: next.physical };
      return (api) => api.compact(request);
    }
    case 'grant':
      return (api) => api.leaseGrant({ id: next.id, ttlSeconds: 1_000_000 });
    case 'revoke':
      return (api) => api.leaseRevoke({ id: next.id });
    case 'keepAlive':
      return (api) => api.leaseKeepAlive({ id: next.id });
    case 'timeToLive':
      return async (api) => {
        const { keys, ttlSeconds, ...rest } = await api.leaseTimeToLive({ id: next.id, keys: true });
        return { ...rest, keys: [...keys].sort(compareBytes), alive: ttlSeconds > 0 };
      };
    case 'leases':
      return async (api) => {
        const { leases, header } = await api.leaseLeases();
        return { leases: [...leases].sort((a, b) => (a < b ? -1 : 1)), header };
      };
    case 'space': {
      const action = next.full ? 'activate' : 'deactivate';
      return (api) => api.alarm({ action, memberId: 1n, alarm: 'nospace' });
    }
  }
}

/** An answer without what differs by nature, or the code of the error. */
async function outcome(call: Promise<object>): Promise<Outcome> {
  try {
    const { header, ...rest } = (await call) as {
      header: { revision: number };
      responses?: TxnResult['responses'];
    };
    const responses = rest.responses && { responses: withoutInnerTxnRevisions(rest.responses) };
    return { value: { ...rest, ...responses, headerRevision: header.revision } };
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    return { error: error.message };
  }
}

/** etcd's header inside a nested txn is empty, so its revision is nobody's business. */
function withoutInnerTxnRevisions(responses: TxnResult['responses']): unknown[] {
  return responses.map((response) => {
    if (response.type !== 'txn') return response;
    const { revision: _, ...txn } = response.txn;
    return { type: 'txn', txn: { ...txn, responses: withoutInnerTxnRevisions(txn.responses) } };
  });
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
