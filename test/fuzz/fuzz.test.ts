/** A short hunt with a new seed, and every seed that once failed. The long one is `pnpm fuzz`. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { type MusterCluster, type MusterMember, startMuster } from '../support/muster.ts';
import { fuzz, replay, TARGETS } from './runner.ts';

const SHORT_MS = 3000;
const seeds = readFileSync(new URL('seeds.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => line.split(' ') as [target: string, seed: string]);

describe('almost right input', { timeout: 120_000 }, () => {
  let cluster: MusterCluster;
  let member: MusterMember;
  before(async () => {
    cluster = await startMuster(1, { flags: ['--body-timeout=5s'] });
    member = cluster.members[0] as MusterMember;
  });
  after(() => cluster?.close());

  for (const [target, seed] of seeds) {
    test(`that once failed: ${target} ${seed}`, () => replay(member, target, seed));
  }

  for (const target of Object.keys(TARGETS)) {
    const seed = randomBytes(4).toString('hex');
    test(`to ${target}, seed ${seed}`, async () => {
      const { cases, finding } = await fuzz(member, target, seed, SHORT_MS);
      assert.equal(finding && `${finding.target} ${finding.seed}: ${finding.error.message}`, undefined);
      assert.ok(cases > 20, `only ${cases} cases`);
    });
  }
});
