import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readPlan } from './options.ts';

function planOf(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const plan = readPlan(args, env, '/project');
  assert(typeof plan === 'object', String(plan));
  return plan;
}

test('by default the ports are those of a local etcd cluster, and the data is in .muster', () => {
  const { members, logDir } = planOf([]);
  assert.deepEqual(
    members.map(({ name, clientPort, peerPort, dataDir }) => [name, clientPort, peerPort, dataDir]),
    [
      ['m1', 2379, 2380, '/project/.muster/m1'],
      ['m2', 22379, 22380, '/project/.muster/m2'],
      ['m3', 32379, 32380, '/project/.muster/m3'],
    ],
  );
  assert.equal(logDir, '/project/.muster/logs');
});

test('a base port puts all six in a row; arguments go before the environment', () => {
  const ports = (args: readonly string[], env: NodeJS.ProcessEnv) =>
    planOf(args, env).members.flatMap(({ clientPort, peerPort }) => [clientPort, peerPort]);
  assert.deepEqual(
    ports(['--base-port', '5000'], { MUSTER_BASE_PORT: '6000' }),
    [5000, 5001, 5002, 5003, 5004, 5005],
  );
  assert.equal(ports([], { MUSTER_BASE_PORT: '6000' })[0], 6000);
  assert.equal(planOf(['--data-dir=/data'], {}).dataDir, '/data');
});

test('what cannot be is refused with what was expected; help is asked for, not refused', () => {
  for (const port of ['0', '-1', '65535', 'x', '1.5', '']) {
    assert.match(String(readPlan([`--base-port=${port}`], {}, '/')), /--base-port: expected a number/, port);
  }
  assert.match(String(readPlan(['--prot=1'], {}, '/')), /--prot/);
  assert.equal(readPlan(['--help'], {}, '/'), undefined);
});
