import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { KvError } from '@muster/contract';
import { tokenApi } from '../../../gateway/test/token-api.ts';
import { serveV1, type TestServer } from '../../../gateway/test/v1-harness.ts';
import type { ConnectOptions } from '../core/client.ts';
import { MusterError } from '../core/errors.ts';
import { connect } from './connect.ts';

let server: TestServer;
const seen = new Map<string, number>();
/** Tokens that the server takes no more, and how often it was asked for one. */
let logins = 0;
let expired = false;

before(async () => {
  server = await serveV1({
    wrap: (api) => {
      const guarded = tokenApi(api, seen);
      return new Proxy(guarded, {
        get(target, property) {
          const member = Reflect.get(target, property, target) as (...args: unknown[]) => unknown;
          if (property === 'authenticate') {
            return (...args: unknown[]) => {
              logins++;
              expired = false;
              return member(...args);
            };
          }
          if (property === 'put' || property === 'range') {
            return (...args: unknown[]) =>
              expired ? Promise.reject(new KvError('INVALID_AUTH_TOKEN')) : member(...args);
          }
          return member;
        },
      });
    },
  });
});
after(() => server.stop());

const root = { name: 'root', password: 'pw' };
const open = (auth?: ConnectOptions['auth']) =>
  connect({ endpoints: [`http://127.0.0.1:${server.port}`], ...(auth ? { auth } : {}) });
const failed = (code: string) => (error: unknown) => error instanceof MusterError && error.code === code;

test('a client that is nobody is refused with the server’s code', async () => {
  await using nobody = open();
  await assert.rejects(nobody.kv.put('a', '1'), failed('USER_EMPTY'));
  await using wrong = open({ name: 'root', password: 'x' });
  await assert.rejects(wrong.kv.put('a', '1'), failed('AUTH_FAILED'));
  await using stale = open({ token: 'nonsense.1' });
  await assert.rejects(stale.kv.put('a', '1'), failed('INVALID_AUTH_TOKEN'));
});

test('one login serves calls and sockets, and a refused token is replaced', async () => {
  await using client = open(root);
  logins = 0;
  await Promise.all([client.kv.put('auth/a', '1'), client.kv.put('auth/b', '1')]);
  assert.equal(logins, 1);
  const changes: string[] = [];
  const watch = client.watch('auth/');
  for await (const change of watch) {
    if (change.type === 'synced') {
      expired = true;
      await client.kv.put('auth/c', '1');
      assert.equal(logins, 2);
    } else if (change.type === 'put') changes.push(String(change.entry.key));
    if (changes.length === 3) break;
  }
  assert.deepEqual(changes, ['auth/a', 'auth/b', 'auth/c']);
});

test('a subscription whose token has run out gets another one on the same socket', async () => {
  await using client = open(root);
  await client.kv.put('late/a', '1');
  const first = client.watch('other/');
  for await (const change of first) {
    if (change.type === 'synced') break;
  }
  logins = 0;
  expired = true;
  // Its snapshot is a range, which is refused once.
  for await (const change of client.watch('late/')) {
    if (change.type === 'put') {
      assert.equal(change.entry.key, 'late/a');
      break;
    }
  }
  assert.equal(logins, 1);
});

test('a bearer’s token is taken as it is', async () => {
  await using client = open({ token: 'good.1' });
  logins = 0;
  await client.kv.put('bearer/a', '1');
  assert.equal((await client.kv.get('bearer/a'))?.value, '1');
  assert.equal(logins, 0);
});
