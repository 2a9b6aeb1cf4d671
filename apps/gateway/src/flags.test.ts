import assert from 'node:assert/strict';
import { test } from 'node:test';
import { helpText, readCommandLine, StartRefused } from './flags.ts';

function run(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const line = readCommandLine(args, env);
  assert.ok(line.action === 'run');
  return line.values;
}

test('a flag goes before its variable, a variable before the default', () => {
  const env = {
    MUSTER_GATEWAY_ENDPOINTS: 'b:1, c:2',
    MUSTER_GATEWAY_LOG_LEVEL: 'warn',
    MUSTER_GATEWAY_USER: '',
  };
  const values = run(['--endpoints=a:1'], env);
  assert.deepEqual(values.endpoints, ['a:1']);
  assert.equal(values['log-level'], 'warn');
  assert.deepEqual(run([], env).endpoints, ['b:1', 'c:2']);
  assert.deepEqual(run([]).endpoints, ['127.0.0.1:2379']);
});

test('values are read as they are meant', () => {
  const values = run([
    '--dial-timeout=1.5s',
    '--auto-sync-interval',
    '1m',
    '--client-cert-auth',
    '--insecure-skip-tls-verify=false',
    '--cors=http://a.example,https://b.example:8443',
    '--listen-urls=http://127.0.0.1:1,https://[::1]:2',
    '--max-txn-ops=7',
  ]);
  assert.equal(values['dial-timeout'], 1500);
  assert.equal(values['auto-sync-interval'], 60_000);
  assert.equal(values['client-cert-auth'], true);
  assert.equal(values['insecure-skip-tls-verify'], false);
  assert.deepEqual(values.cors, ['http://a.example', 'https://b.example:8443']);
  assert.deepEqual(values['listen-urls'], ['http://127.0.0.1:1', 'https://[::1]:2']);
  assert.equal(values['max-txn-ops'], 7);
  assert.equal(values.balance, 'sticky');
});

test('what cannot be read is refused, and says where it came from', () => {
  const refused = (text: RegExp, args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    assert.throws(
      () => readCommandLine(args, env),
      (error) => error instanceof StartRefused && error.exitCode === 2 && text.test(error.message),
    );
  refused(/--bogus/, ['--bogus']);
  refused(/unexpected argument|positional/i, ['here']);
  refused(/"soon" for --dial-timeout: expected a duration/, ['--dial-timeout=soon']);
  refused(/"0" for MUSTER_GATEWAY_MAX_SOCKETS: expected a whole number/, [], {
    MUSTER_GATEWAY_MAX_SOCKETS: '0',
  });
  refused(/expected http:\/\/host:port/, ['--listen-urls=127.0.0.1:1']);
  refused(/without a path/, ['--cors=http://a.example/x']);
  refused(/one of sticky, round-robin/, ['--balance=random']);
  refused(/expected true or false/, ['--client-cert-auth=yes']);
});

test('help names every flag, help and version go before everything else', () => {
  for (const name of ['endpoints', 'listen-urls', 'cacert', 'shutdown-timeout'])
    assert.match(helpText(), RegExp(`--${name} `));
  assert.equal(readCommandLine(['--help'], { MUSTER_GATEWAY_MAX_SOCKETS: 'x' }).action, 'help');
  assert.equal(readCommandLine(['--version'], {}).action, 'version');
});
