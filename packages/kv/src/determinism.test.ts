/** Members that differ in all that is their own affair make the same of the same log. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng, utf8 } from '@muster/base';
import type { Origin } from './auth/auth-checks.ts';
import type { Command } from './commands.ts';
import { decodeCommand, encodeCommand } from './commands.ts';
import { MemoryEngine } from './memory-engine.ts';
import { type ApplyOutcome, StateMachine } from './state-machine.ts';
import type { PutRequest, RequestOp } from './types.ts';

const STEPS = 600;
const NAMES = ['root', 'ann', 'bob'];

class Generator {
  readonly #prng: Prng;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  command(revision: number): Command {
    const prng = this.#prng;
    const id = BigInt(prng.int(1, 5));
    const name = prng.pick(NAMES);
    const makers: (() => Command)[] = [
      ...Array.from({ length: 8 }, () => (): Command => ({ type: 'put', put: this.#put() })),
      () => ({ type: 'deleteRange', deleteRange: { key: this.#key(), rangeEnd: this.#key(), prevKv: true } }),
      () => ({
        type: 'txn',
        txn: {
          compare: [
            {
              key: this.#key(),
              target: 'version',
              result: 'greater',
              operand: { kind: 'version', number: 0 },
            },
          ],
          success: [this.#op(), { type: 'range', range: { key: this.#key() } }],
          failure: [this.#op()],
        },
      }),
      () => ({ type: 'compact', revision: revision - prng.int(-1, 6), physical: false }),
      () => ({ type: 'leaseGrant', id, ttlSeconds: prng.int(1, 100) }),
      () => ({ type: 'leaseRevoke', id }),
      () => ({ type: 'leaseCheckpoint', checkpoints: [{ id, remainingTtlSeconds: prng.int(1, 9) }] }),
      () => ({
        type: 'alarm',
        action: prng.chance(0.1) ? 'activate' : 'deactivate',
        memberId: 1n,
        alarm: prng.pick(['nospace', 'nospace', 'corrupt']),
      }),
      () => ({
        type: 'memberAdd',
        id: id + 10n,
        peerUrls: [`http://h:${id}`],
        isLearner: prng.chance(0.5),
        learnersMax: 1,
      }),
      () => ({ type: 'memberPromote', id: id + 10n }),
      () => ({ type: 'memberUpdate', id: id + 10n, peerUrls: [`http://h:${prng.int(1, 9)}`] }),
      () => (prng.chance(0.1) ? { type: 'memberRemove', id: id + 10n } : { type: 'noop' }),
      () => ({ type: 'userAdd', name, hashedPassword: 'x', noPassword: false }),
      () => ({ type: 'userDelete', name }),
      () => ({ type: 'roleAdd', name }),
      () => ({ type: 'roleDelete', role: name }),
      () => ({ type: 'userGrantRole', user: prng.pick(NAMES), role: name }),
      () => ({ type: 'userRevokeRole', name: prng.pick(NAMES), role: name }),
      () => ({
        type: 'roleGrantPermission',
        name,
        permission: { type: prng.pick(['read', 'write', 'readwrite']), key: this.#key() },
      }),
      () => ({ type: prng.chance(0.3) ? 'authEnable' : 'authDisable' }),
    ];
    return prng.pick(makers)();
  }

  origin(authRevision: number): Origin {
    const prng = this.#prng;
    if (prng.chance(0.7)) return 'internal';
    if (prng.chance(0.3)) return 'anonymous';
    return { username: prng.pick(NAMES), authRevision: authRevision - (prng.chance(0.1) ? 1 : 0) };
  }

  #op(): RequestOp {
    if (this.#prng.chance(0.7)) return { type: 'put', put: this.#put() };
    return { type: 'deleteRange', deleteRange: { key: this.#key() } };
  }

  #put(): PutRequest {
    const lease = this.#prng.chance(0.3) ? BigInt(this.#prng.int(1, 5)) : 0n;
    return {
      key: this.#key(),
      value: new Uint8Array(this.#prng.int(0, 200)),
      lease,
      prevKv: this.#prng.chance(0.3),
    };
  }

  #key(): Uint8Array {
    return utf8(this.#prng.pick(['a', 'b', 'c', 'd', 'e', 'f']));
  }
}

/** One member's part: how it batches, compacts, starts again, and what it looks at beside. */
class Twin {
  readonly #engine = new MemoryEngine();
  readonly #options: { readonly minLeaseTtlSeconds: number; readonly quotaBytes: number };
  readonly #prng: Prng;
  machine: StateMachine;

  constructor(quotaBytes: number, prng: Prng) {
    this.#options = { minLeaseTtlSeconds: 1, quotaBytes };
    this.#prng = prng;
    this.machine = new StateMachine(this.#engine, this.#options);
  }

  apply(bytes: Uint8Array, index: number): ApplyOutcome {
    const { command, origin } = decodeCommand(bytes);
    this.machine.wantPrevValues = this.#prng.chance(0.5);
    const outcome = this.machine.apply(command, origin, index);
    if (this.#prng.chance(0.3)) this.seal(index);
    return outcome;
  }

  seal(index: number): void {
    if (this.#prng.chance(0.5)) this.machine.compactStep();
    this.machine.flushMeta();
    this.#engine.commit(index);
    if (this.#prng.chance(0.2)) this.machine = new StateMachine(this.#engine, this.#options);
  }
}

/** But for the room that there is, and for previous values that nobody watches. */
function comparable(outcome: ApplyOutcome): unknown {
  const events = outcome.events.map(({ type, kv }) => ({ type, kv }));
  const isFull = 'error' in outcome && outcome.applied !== undefined;
  const result = 'result' in outcome ? outcome.result : isFull ? outcome.applied : outcome.error.code;
  return { revision: outcome.revision, events, result };
}

for (let seed = 1; seed <= 12; seed++) {
  test(`quota, restarts, batches, progress of compactions and watchers change nothing, seed ${seed}`, () => {
    const prng = new Prng(`determinism ${seed}`);
    const generator = new Generator(prng);
    const twins = [0, 1, 3000].map((quota, i) => new Twin(quota, new Prng(`twin ${seed} ${i}`)));
    const [first] = twins as [Twin];
    for (let index = 1; index <= STEPS; index++) {
      const { machine } = first;
      const origin = generator.origin(machine.auth.revision);
      const command = generator.command(machine.currentRevision);
      const bytes = encodeCommand({ member: 1n, sequence: index }, command, origin);
      const outcomes = twins.map((twin) => comparable(twin.apply(bytes, index)));
      for (const outcome of outcomes) assert.deepEqual(outcome, outcomes[0], `${index}: ${command.type}`);
      if (index % 50 === 0) {
        for (const twin of twins) twin.seal(index);
        const hashes = twins.map((twin) => twin.machine.storeHash());
        assert.equal(new Set(hashes).size, 1, `${index}: ${hashes}`);
      }
    }
    assert.ok(first.machine.currentRevision > 20, `${first.machine.currentRevision} revisions`);
  });
}
