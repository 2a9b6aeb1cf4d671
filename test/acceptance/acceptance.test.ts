/** The acceptance checks, whole, against running members: one, and three. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Child } from '../support/child.ts';
import { debianProgram } from '../support/debian.ts';
import { type MusterCluster, startMuster, temporaryDirectory } from '../support/muster.ts';
import { portsInARow } from '../support/ports.ts';

const HERE = import.meta.dirname;
const SERVER = join(HERE, '../../apps/server/src/main.ts');
const MUSTERCTL = join(HERE, '../../apps/cli/bin/musterctl');

const PROGRAMS = [
  ['etcdctl', 'etcd-client'],
  ['etcd', 'etcd-server'],
  ['python3', 'python3'],
  ['openssl', 'openssl'],
  ['curl', 'curl'],
  ['jq', 'jq'],
] as const;

describe('acceptance checks', { timeout: 600_000 }, () => {
  let one: MusterCluster;
  let three: MusterCluster;
  before(async () => {
    one = await startMuster(1);
    three = await startMuster(3);
  });
  after(async () => {
    await one?.close();
    await three?.close();
  });

  test('the JSON gateway of one member', () => checkGateway(addressesOf(one)[0] as string));

  test('the JSON gateway of each of three members', async () => {
    for (const address of addressesOf(three)) await checkGateway(address);
  });

  const missing = PROGRAMS.filter(([program, pkg]) => debianProgram(program, pkg) === undefined);
  test('etcdctl on one member and on three, with TLS, membership and restore', {
    skip: missing.length > 0 && `missing: ${missing.map(([, pkg]) => pkg).join(', ')}`,
  }, async () => {
    const dir = temporaryDirectory('etcdctl');
    const env = {
      ETCD_BIN: wrapper(dir, 'muster-server', SERVER),
      REAL_ETCD: debianProgram('etcd', 'etcd-server') as string,
      RESTORE_CMD: `${MUSTERCTL} snapshot restore $SNAP --name $NAME --data-dir $DIR --initial-cluster $NAME=$PEER --initial-advertise-peer-urls $PEER`,
      BASE_PORT: String(await portsInARow(40)),
      WORK: join(dir, 'work'),
    };
    const [endpoint] = addressesOf(one) as [string];
    const script = join(HERE, 'check-etcdctl.sh');
    const check = new Child('bash', [script, endpoint, addressesOf(three).join(',')], { env });
    const how = await check.exited;
    assert.equal(how, 'exit code 0', check.output);
    assert.match(check.output, /0 sections skipped\n\d{3} passed, 0 failed/);
  });
});

async function checkGateway(address: string): Promise<void> {
  const check = new Child(process.execPath, [join(HERE, 'check-gateway-json.mjs'), address]);
  assert.equal(await check.exited, 'exit code 0', check.output);
  assert.match(check.output, /\d{2,} passed, 0 failed/);
}

function addressesOf(cluster: MusterCluster): string[] {
  return cluster.endpoints.map((url) => url.replace('http://', ''));
}

/** A program of one word, as the script calls it. */
function wrapper(dir: string, name: string, main: string): string {
  const path = join(dir, name);
  writeFileSync(path, `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`, { mode: 0o755 });
  return path;
}
