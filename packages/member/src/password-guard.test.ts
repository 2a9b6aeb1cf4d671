import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@muster/base';
import { KvError } from '@muster/contract';
import {
  PasswordGuard,
  WAITING_MAX,
  WAITING_PER_NAME_MAX,
  WAITING_PER_SOURCE_MAX,
} from './password-guard.ts';

/** A hasher that counts, and whose work ends when told. */
function counting() {
  const count = { running: 0, most: 0, verified: 0, hashed: 0 };
  let held: (() => void)[] = [];
  let isHeld = false;
  const work = async (): Promise<void> => {
    count.most = Math.max(count.most, ++count.running);
    if (isHeld) await new Promise<void>((resolve) => held.push(resolve));
    count.running--;
  };
  return {
    count,
    hold: () => {
      isHeld = true;
    },
    release: () => {
      isHeld = false;
      for (const go of held) go();
      held = [];
    },
    hasher: {
      hash: async (password: string) => {
        count.hashed++;
        await work();
        return `#${password}`;
      },
      verify: async (password: string, hashed: string) => {
        count.verified++;
        await work();
        return hashed === `#${password}`;
      },
    },
  };
}

async function settle(clock: ManualClock, promise: Promise<unknown>): Promise<number> {
  const startMs = clock.nowMs();
  let done = false;
  promise.then(
    () => (done = true),
    () => (done = true),
  );
  for (let i = 0; i < 10_000 && !done; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (!done) clock.advance(10);
  }
  assert.ok(done);
  return clock.nowMs() - startMs;
}

test('right is right, wrong is wrong, and a name that nobody has costs the same look', async () => {
  const clock = new ManualClock();
  const { hasher, count } = counting();
  const guard = new PasswordGuard(clock, hasher);
  assert.equal(await guard.check('ann', 'x', '#x'), true);
  assert.equal(await guard.check('ann', 'y', '#x'), false);
  const before = count.verified;
  assert.equal(await guard.check('nobody', 'x', undefined), false);
  assert.equal(await guard.check('nobody', '', undefined), false);
  assert.equal(count.verified, before + 2);
  assert.equal(count.hashed, 1);
});

test('guesses become slower, whoever is guessed at, until one is right; others do not wait', async () => {
  const clock = new ManualClock();
  const guard = new PasswordGuard(clock, counting().hasher);
  for (const [name, hashed] of [
    ['ann', '#x'],
    ['nobody', undefined],
  ] as const) {
    const waits: number[] = [];
    for (let i = 0; i < 12; i++) waits.push(await settle(clock, guard.check(name, 'wrong', hashed)));
    assert.deepEqual(waits.slice(0, 3), [0, 0, 0]);
    for (let i = 4; i < 12; i++) assert.ok((waits[i] as number) >= (waits[i - 1] as number), waits.join());
    assert.ok((waits[11] as number) >= 900 && (waits[11] as number) <= 1100, waits.join());
  }
  assert.equal(await settle(clock, guard.check('bob', 'x', '#x')), 0);
  await settle(clock, guard.check('ann', 'wrong', '#x'));
  assert.ok((await settle(clock, guard.check('ann', 'x', '#x'))) >= 900);
  assert.equal(await settle(clock, guard.check('ann', 'x', '#x')), 0);
});

test('few hashes run at once, few checks wait for a name and not many in all; what waits is done', async () => {
  const clock = new ManualClock();
  const { hasher, count, hold, release } = counting();
  const guard = new PasswordGuard(clock, hasher);
  await guard.check('first', 'x', '#x');
  hold();
  const outcomes: Promise<string>[] = [];
  const check = (name: string) =>
    outcomes.push(
      guard.check(name, 'x', '#x').then(
        (right) => String(right),
        (error) => (error as KvError).code,
      ),
    );
  for (let i = 0; i < WAITING_PER_NAME_MAX + 2; i++) check('ann');
  for (let i = 0; i < WAITING_MAX; i++) check(`user ${i}`);
  await new Promise((resolve) => setImmediate(resolve));
  release();
  const codes = await Promise.all(outcomes);
  assert.deepEqual(codes.slice(0, WAITING_PER_NAME_MAX + 2), [
    ...Array(WAITING_PER_NAME_MAX).fill('true'),
    'TOO_MANY_REQUESTS',
    'TOO_MANY_REQUESTS',
  ]);
  assert.equal(codes.filter((code) => code === 'true').length, WAITING_MAX);
  assert.equal(count.most, 2);
  assert.equal(await guard.check('ann', 'x', '#x'), true);
});

test('a hasher that fails gives its place back', async () => {
  const clock = new ManualClock();
  let broken = true;
  const guard = new PasswordGuard(clock, {
    hash: async () => '#',
    verify: async () => {
      if (broken) throw new KvError('INTERNAL');
      return true;
    },
  });
  for (let i = 0; i < 2 * WAITING_MAX; i++) await assert.rejects(guard.check('ann', 'x', '#x'));
  broken = false;
  assert.equal(await guard.check('ann', 'x', '#x'), true);
});

test('guesses from elsewhere, from one place or from many, do not keep the owner out', async () => {
  const clock = new ManualClock();
  const guard = new PasswordGuard(clock, counting().hasher);
  const attack = (source: string) => guard.check('ann', 'wrong', '#x', source).catch(() => false);
  for (let i = 0; i < 20; i++) void attack('10.0.0.1');
  await settle(clock, attack('10.0.0.1'));
  assert.equal(await settle(clock, guard.check('ann', 'x', '#x', '10.0.0.2')), 0);

  // From a place where the password was right once, nothing is to be waited for, whatever the others do.
  for (let round = 0; round < 20; round++) {
    const guesses = Array.from({ length: 99 }, (_, i) => attack(`10.0.1.${i}`));
    assert.equal(await settle(clock, guard.check('ann', 'x', '#x', '10.0.0.2')), 0, `round ${round}`);
    await settle(clock, Promise.all(guesses));
  }
});

test('many places together are slowed as one is', async () => {
  const clock = new ManualClock();
  const guard = new PasswordGuard(clock, counting().hasher);
  for (let i = 0; i < 60; i++) await settle(clock, guard.check('ann', 'wrong', '#x', `10.0.0.${i}`));
  const waited = await settle(clock, guard.check('ann', 'wrong', '#x', '10.0.1.1'));
  assert.ok(waited >= 900 && waited <= 1100, `${waited}`);
  assert.equal(await settle(clock, guard.check('bob', 'x', '#x', '10.0.1.1')), 0);
});

test('one source takes a part of the places alone, and a network of IPv6 is one source', async () => {
  const clock = new ManualClock();
  const { hasher, hold, release } = counting();
  const guard = new PasswordGuard(clock, hasher);
  await guard.check('first', 'x', '#x');
  hold();
  const codes: string[] = [];
  const check = (name: string, source: string) =>
    guard.check(name, 'x', '#x', source).then(
      (right) => codes.push(String(right)),
      (error) => codes.push((error as KvError).code),
    );
  const all = Array.from({ length: WAITING_MAX }, (_, i) =>
    check(`user ${i}`, `2001:db8::${i.toString(16)}`),
  );
  all.push(check('user 1', '2001:db8:0:1::1'), check('user 2', '10.0.0.1'));
  await new Promise((resolve) => setImmediate(resolve));
  release();
  await Promise.all(all);
  assert.equal(codes.filter((code) => code === 'true').length, WAITING_PER_SOURCE_MAX + 2);
});
