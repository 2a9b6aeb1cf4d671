import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { it } from 'node:test';
import { ReadinessGate } from './readiness-gate.ts';

it('readiness fails once the gate is closed, and everything else goes through', async () => {
  const gate = new ReadinessGate((_, res) => void res.end('through'));
  const server = createServer(gate.listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    assert.equal(await (await fetch(`${url}/readyz`)).text(), 'through');
    gate.close();
    for (const path of ['/readyz', '/readyz?verbose', '/readyz/linearizable_read']) {
      const response = await fetch(`${url}${path}`);
      assert.equal(response.status, 503);
      assert.match(await response.text(), /this member is stopping/);
    }
    for (const path of ['/livez', '/readyzz', '/v3/kv/range']) {
      assert.equal(await (await fetch(`${url}${path}`)).text(), 'through');
    }
  } finally {
    server.closeAllConnections();
    await once(server.close(), 'close');
  }
});
