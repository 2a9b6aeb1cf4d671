/** `npm start` as a process: what it says, what is there, how it ends, and what is there the next time. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Child } from '../support/child.ts';
import { temporaryDirectory } from '../support/muster.ts';
import { portsInARow } from '../support/ports.ts';

const MAIN = new URL('../../apps/demo/src/main.ts', import.meta.url).pathname;
const children: Child[] = [];
after(() => Promise.all(children.map((child) => child.stop('SIGKILL'))));

async function started(base: number, dataDir: string): Promise<Child> {
  const child = new Child(process.execPath, [MAIN, '--base-port', String(base), '--data-dir', dataDir]);
  children.push(child);
  await child.ready(async () => assert.match(child.output, /Ctrl-C stops everything in order/), 60_000);
  return child;
}

async function said(child: Child, text: RegExp): Promise<void> {
  await child.ready(async () => assert.match(child.output, text), 15_000);
}

test('it starts, tells of deaths, stops in order, and finds its data again', async () => {
  const base = await portsInARow(6);
  const dataDir = temporaryDirectory('demo');
  const url = `http://127.0.0.1:${base}`;
  const first = await started(base, dataDir);
  assert.match(first.output, new RegExp(`${url}/ui/`));
  const { services } = (await (await fetch(`${url}/v1/services`)).json()) as {
    services: { name: string; instances: number }[];
  };
  assert.deepEqual(
    services.map(({ name, instances }) => [name, instances]),
    [
      ['orders', 2],
      ['payments', 1],
    ],
  );
  const answer = await fetch(`${url}/v1/services/orders/instances/orders-1`);
  const instance = (await answer.json()) as { url: string; metadata: { pid: string } };
  const said1 = (await (await fetch(instance.url)).json()) as { service: string; peers: { id: string }[] };
  assert.equal(said1.service, 'orders');
  assert.deepEqual(
    said1.peers.map(({ id }) => id),
    ['payments-1'],
  );

  await fetch(`${url}/v1/kv/kept`, { method: 'PUT', body: 'from the first time' });
  process.kill(Number(instance.metadata.pid), 'SIGKILL');
  await said(first, /orders-1 is gone \(SIGKILL\).*\n.*sample-service\.ts --name orders --id orders-1/);

  assert.equal(await first.stop('SIGINT'), 'exit code 0');
  const order = [...first.output.matchAll(/stopping (.*)/g)].map((match) => match[1]);
  assert.equal(order[0], 'orders-2, payments-1');
  assert.match(String(order[3]), /^m\d \(leader\)$/);

  const second = await started(base, dataDir);
  assert.match(second.output, /with the data of before/);
  assert.equal(await (await fetch(`${url}/v1/kv/kept`)).text(), 'from the first time');
  assert.equal(await second.stop('SIGTERM'), 'exit code 0');
});

test('a port in use is told by its number, with what to do', async () => {
  const base = await portsInARow(6);
  const dataDir = temporaryDirectory('demo');
  await using other = await listening(base + 2);
  const child = new Child(process.execPath, [MAIN, '--base-port', String(base), '--data-dir', dataDir]);
  children.push(child);
  assert.equal(await child.exited, 'exit code 1');
  assert.match(child.output, new RegExp(`port ${base + 2} is in use by another program`));
  assert.match(child.output, /--base-port/);
  assert.equal(other.listening, true);
});

async function listening(port: number) {
  const { createServer } = await import('node:net');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return server;
}
