import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GLOBAL_FLAGS, withEnvironment } from './globals.ts';

const defaults = Object.fromEntries(
  Object.entries(GLOBAL_FLAGS).map(([name, flag]) => [name, flag.fallback]),
);

function read(env: Record<string, string>, given: readonly string[] = []) {
  const warnings: string[] = [];
  const globals = withEnvironment(defaults, new Set(given), env, (text) => warnings.push(text));
  return { globals, warnings };
}

test('flags come from ETCDCTL_ and MUSTERCTL_ variables, the latter first, empty ones not at all', () => {
  const { globals, warnings } = read({
    ETCDCTL_ENDPOINTS: 'a:1,b:2',
    MUSTERCTL_ENDPOINTS: 'c:3',
    ETCDCTL_COMMAND_TIMEOUT: '7s',
    ETCDCTL_CACERT: '',
    ETCDCTL_API: '3',
    PATH: '/bin',
  });
  assert.deepEqual(globals.endpoints, ['c:3']);
  assert.equal(globals['command-timeout'].ms, 7_000);
  assert.equal(globals.cacert, '');
  assert.deepEqual(warnings, []);
});

test('a variable beside its flag is a conflict, as in etcdctl', () => {
  assert.throws(
    () => read({ ETCDCTL_ENDPOINTS: 'a:1' }, ['endpoints']),
    /conflicting environment variable "ETCDCTL_ENDPOINTS" is shadowed by corresponding command-line flag/,
  );
});

test('an unknown variable is worth a warning, a bad value an error that does not repeat a secret', () => {
  assert.deepEqual(read({ ETCDCTL_ENDPOINT: 'a:1' }).warnings, [
    'unrecognized environment variable ETCDCTL_ENDPOINT',
  ]);
  assert.throws(() => read({ ETCDCTL_HEX: 'maybe' }), /invalid value "maybe" for ETCDCTL_HEX/);
});
