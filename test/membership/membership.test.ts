/**
 * Members of a running cluster are replaced under load: one by a learner that is promoted, one that lost its disk. What
 * was acknowledged is there on every member, and all agree. `MEMBERSHIP_ROUNDS=10` is the long version.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Prng } from '@muster/base';
import { Load, post, readAll } from '../crash/load.ts';
import type { MusterMember } from '../support/muster.ts';
import { ended, Fleet } from './fleet.ts';

const ROUNDS = Number(process.env.MEMBERSHIP_ROUNDS ?? 1);
/** Writes a second that the long version must have kept up, over everything that happened. */
const FLOOR = Number(process.env.MEMBERSHIP_FLOOR ?? 0);
const WIDTH = Number(process.env.MEMBERSHIP_WIDTH ?? 16);
const seed = Number(process.env.MEMBERSHIP_SEED ?? Date.now() % 1_000_000);
const prng = new Prng(seed);
let fleet: Fleet;

before(async () => {
  fleet = await Fleet.start(3);
});
after(() => fleet?.close());

/** By who it was, or, where that is one of the members that are gone since, by who they are. */
const REFUSED = /already been bootstrapped|error validating peerURLs/;
const REMOVED = /the member has been permanently removed from the cluster/;

test(`members are replaced under load, ${ROUNDS} times (MEMBERSHIP_SEED=${seed})`, async (t) => {
  const loads: Load[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const load = new Load({ endpoints: () => fleet.endpoints(), prefix: `round${round}/`, width: WIDTH });
    loads.push(load);
    const seconds = await underLoad(load, round);
    const rate = load.acks.length / seconds;
    t.diagnostic(
      `round ${round}: ${load.acks.length} writes acknowledged in ${seconds.toFixed(1)} s, ` +
        `${rate.toFixed(0)} a second, ${load.failures} failed`,
    );
    assert.ok(rate >= FLOOR, `${rate.toFixed(0)} writes a second, at least ${FLOOR} expected`);
    await assertAgreed(load);
  }
  for (const [round, load] of loads.entries()) await assertAllThere(load, round);
});

/** How long it took. */
async function underLoad(load: Load, round: number): Promise<number> {
  const startedMs = performance.now();
  try {
    await load.progress(200);
    await replaceByLearner();
    await load.progress(200);
    await replaceWiped(round);
    await load.progress(200);
    return (performance.now() - startedMs) / 1000;
  } finally {
    await load.stop();
  }
}

/** A member joins as learner, is promoted, and an old one is removed: its process ends by itself. */
async function replaceByLearner(): Promise<void> {
  const leaver = prng.pick(fleet.members);
  const learner = await fleet.join(true);
  await fleet.promote(learner);
  await fleet.remove(leaver);
  assert.equal(await ended(leaver), 0);
  assert.match(leaver.log(), REMOVED);
}

/** A member's disk is gone: under its old id it may not come back, as a new one it does. */
async function replaceWiped(round: number): Promise<void> {
  const victim = prng.pick(fleet.members);
  await victim.stop('SIGKILL');
  fleet.wipe(victim);
  if (round === 0) await assert.rejects(victim.start(), REFUSED);
  await fleet.remove(victim);
  await fleet.join(false);
}

async function assertAgreed(load: Load): Promise<void> {
  const revision = Math.max(...load.acks.map((ack) => ack.revision));
  const hashes = await Promise.all(fleet.members.map((member) => hashAt(member, revision)));
  assert.equal(new Set(hashes).size, 1, `members disagree at revision ${revision}: ${hashes}`);
}

async function hashAt(member: MusterMember, revision: number): Promise<number> {
  await post(member.clientUrl, '/v3/kv/range', { key: 'AA==' });
  const answer = await post(member.clientUrl, '/v3/maintenance/hashkv', { revision }, 30_000);
  return (answer as { hash: number }).hash;
}

async function assertAllThere(load: Load, round: number): Promise<void> {
  for (const member of fleet.members) {
    const found = await readAll(member.clientUrl, `round${round}/`);
    for (const { key, value } of load.acks) {
      assert.equal(found.get(key)?.value, value, `${key} was acknowledged and is gone from ${member.name}`);
    }
    for (const [key, { version }] of found) assert.equal(version, 1, `${key} was written ${version} times`);
  }
}
