import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostWhitelist } from './host-whitelist.ts';
import { isOriginAllowed } from './origin.ts';

test('origins', () => {
  const ok = (origin: string | undefined, host: string | undefined, allowed: string[] = []) =>
    isOriginAllowed(origin, host, allowed);
  assert.ok(ok(undefined, undefined));
  assert.ok(ok('http://muster.example:2379', 'Muster.example:2379'));
  assert.ok(ok('https://muster.example', 'muster.example'));
  assert.ok(!ok('http://muster.example:2379', 'muster.example'));
  assert.ok(!ok('http://muster.example.evil.example', 'muster.example'));
  assert.ok(!ok('null', 'null'));
  assert.ok(!ok('http://a.example', undefined));
  assert.ok(ok('http://a.example', 'b.example', ['http://a.example']));
  assert.ok(!ok('https://a.example', 'b.example', ['http://a.example']));
  assert.ok(ok('null', 'b.example', ['*']));
});

test('hosts', () => {
  const check = hostWhitelist(['a.example', '127.0.0.1']);
  assert.equal(check('a.example:80', false), undefined);
  assert.equal(check('A.EXAMPLE', false), undefined);
  assert.match(check('b.example', false) as string, /"b\.example"/);
  assert.equal(check('b.example', true), undefined);
  assert.match(check(undefined, false) as string, /""/);
  assert.ok((check(`${'x'.repeat(10_000)}`, false) as string).length < 500);
  assert.equal(hostWhitelist([])('anything', false), undefined);
  assert.equal(hostWhitelist(['*'])(undefined, false), undefined);
});
