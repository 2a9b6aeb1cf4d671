import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { KvError } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import { WebSocket } from 'ws';
import { RealClock } from '../../../../test/support/real-clock.ts';
import { ask, startServer } from '../../test/gateway-harness.ts';
import { StoreApi } from '../../test/store-api.ts';

test('a login says where it comes from, whichever door it takes, and believes no header', async () => {
  const sources: (string | undefined)[] = [];
  const api = Object.assign(new StoreApi(new RealClock()), {
    authenticate(_: unknown, options: CallOptions = {}): Promise<never> {
      sources.push(options.source);
      return Promise.reject(new KvError('AUTH_FAILED'));
    },
  });
  const server = await startServer({ api });
  try {
    const body = JSON.stringify({ name: 'ann', password: 'x' });
    const headers = {
      'x-forwarded-for': '10.0.0.1',
      forwarded: 'for=10.0.0.1',
      'content-type': 'application/json',
    };
    await ask(server.port, '/v3/auth/authenticate', { body, headers });
    await ask(server.port, '/v1/auth/login', { body, headers });

    const socket = connect(server.port, '127.0.0.1');
    socket.write(
      `POST http://x/v3/auth/authenticate HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await once(socket, 'data');
    socket.destroy();

    const ws = new WebSocket(`ws://127.0.0.1:${server.port}/v3/auth/authenticate`);
    await once(ws, 'open');
    ws.send(body);
    await once(ws, 'message');
    ws.terminate();
    assert.deepEqual(sources, Array(4).fill('127.0.0.1'));
  } finally {
    await server.stop();
  }
});
