import assert from 'node:assert/strict';
import { test } from 'node:test';
import { debianProgram } from '../support/debian.ts';
import { portsInARow } from '../support/ports.ts';
import { bench } from './main.ts';
import { meets, table } from './report.ts';
import { QUICK, ROWS, STAGES } from './scenarios.ts';
import { etcdProgram, musterProgram } from './servers.ts';

const firstPort = await portsInARow(6);
const wrk = debianProgram('wrk', 'wrk');
const h2load = debianProgram('h2load', 'nghttp2-client');
const etcd = debianProgram('etcd', 'etcd-server');

test('every stage runs on Muster and gives every figure', { skip: !wrk || !h2load }, async () => {
  const program = musterProgram();
  const options = { size: QUICK, programs: [program], only: [], firstPort, wrk: wrk as string };
  const results = (await bench({ ...options, log: () => {} })).get(program);
  for (const row of ROWS) {
    const value = results?.get(row.id)?.value ?? Number.NaN;
    // The system counts CPU time in hundredths of a second: so little load may not take one.
    assert.ok(row.id.endsWith('.cpu') ? value >= 0 : value > 0, `${row.id} has no figure: ${value}`);
  }
  const text = table(ROWS, results, undefined);
  for (const row of ROWS) assert.ok(text.includes(row.title));
});

test('etcd runs under the same harness', { skip: !wrk || !h2load || !etcd }, async () => {
  const program = etcdProgram(etcd as string);
  const only = STAGES.slice(0, 3).map((stage) => stage.name);
  const options = { size: QUICK, programs: [program], only, firstPort, wrk: wrk as string };
  const results = (await bench({ ...options, log: () => {} })).get(program);
  for (const id of ['put1', 'range1', 'grpc.put', 'grpc.range', 'http', 'socket'])
    assert.ok((results?.get(id)?.value ?? 0) > 0, id);
});

test('a target is met, missed or not comparable', () => {
  const row = (id: string) => ROWS.find((r) => r.id === id) as (typeof ROWS)[number];
  assert.equal(meets(row('put1'), 25, 10), true);
  assert.equal(meets(row('put1'), 24, 10), false);
  assert.equal(meets(row('put1.p99'), 11, 10), false);
  assert.equal(meets(row('restart'), 0.4, undefined), true);
  assert.equal(meets(row('put1'), 1, undefined), undefined);
});
