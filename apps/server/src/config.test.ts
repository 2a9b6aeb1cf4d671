import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readCommandLine, refusalText, StartRefused } from './command-line.ts';
import { type Config, configOf } from './config.ts';
import { envOf, FLAGS, type Flag, helpText, NOT_YET, WITHOUT_EFFECT } from './flags.ts';

const CLIENTS = '--listen-client-urls=http://127.0.0.1:21410 --advertise-client-urls=http://127.0.0.1:21410';

function read(args: string, env: Record<string, string> = {}): Config {
  return configOf(readCommandLine(args.split(' ').filter(Boolean), env));
}

function refusal(args: string, env: Record<string, string> = {}): StartRefused {
  try {
    read(args, env);
  } catch (error) {
    assert.ok(error instanceof StartRefused, String(error));
    return error;
  }
  assert.fail(`accepted: ${args}`);
}

/** [arguments, the sentence, exit status], as etcd 3.4.23 answers them. */
const REFUSED: readonly (readonly [args: string, text: string, exit: 1 | 2])[] = [
  ['--bogus-flag', 'flag provided but not defined: -bogus-flag', 2],
  ['-x', 'flag provided but not defined: -x', 2],
  ['--bogus=1', 'flag provided but not defined: -bogus', 2],
  ['--pre-vote=1 --bogus', 'flag provided but not defined: -bogus', 2],
  ['--=x', 'bad flag syntax: --=x', 2],
  ['---', 'bad flag syntax: ---', 2],
  ['--name', 'flag needs an argument: -name', 2],
  ['--heartbeat-interval', 'flag needs an argument: -heartbeat-interval', 2],
  ['--heartbeat-interval xx', 'invalid value "xx" for flag -heartbeat-interval: parse error', 2],
  ['--heartbeat-interval=', 'invalid value "" for flag -heartbeat-interval: parse error', 2],
  ['--max-txn-ops=-1', 'invalid value "-1" for flag -max-txn-ops: parse error', 2],
  ['--max-request-bytes=1.5', 'invalid value "1.5" for flag -max-request-bytes: parse error', 2],
  ['--quota-backend-bytes=abc', 'invalid value "abc" for flag -quota-backend-bytes: parse error', 2],
  [
    '--max-txn-ops=99999999999999999999',
    'invalid value "99999999999999999999" for flag -max-txn-ops: value out of range',
    2,
  ],
  ['--version=maybe', 'invalid boolean value "maybe" for -version: parse error', 2],
  [
    '--watch-progress-notify-interval=abc',
    'invalid value "abc" for flag -watch-progress-notify-interval: parse error',
    2,
  ],
  [
    '--initial-cluster-state bogus',
    'invalid value "bogus" for flag -initial-cluster-state: invalid value',
    2,
  ],
  [
    '--listen-client-urls ftp://127.0.0.1:21410',
    'invalid value "ftp://127.0.0.1:21410" for flag -listen-client-urls: URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:21410',
    2,
  ],
  [
    '--listen-client-urls 127.0.0.1:21410',
    'invalid value "127.0.0.1:21410" for flag -listen-client-urls: parse "127.0.0.1:21410": first path segment in URL cannot contain colon',
    2,
  ],
  [
    '--listen-client-urls http://127.0.0.1',
    'invalid value "http://127.0.0.1" for flag -listen-client-urls: URL address does not have the form "host:port": http://127.0.0.1',
    2,
  ],
  [
    '--listen-client-urls http://127.0.0.1:21410/path',
    'invalid value "http://127.0.0.1:21410/path" for flag -listen-client-urls: URL must not contain a path: http://127.0.0.1:21410/path',
    2,
  ],
  [
    '--cors=foo',
    'invalid value "foo" for flag -cors: URL scheme must be http, https, unix, or unixs: foo',
    2,
  ],
  ['extra', "error verifying flags, 'extra' is not a valid flag. See 'muster-server --help'.", 1],
  ['--pre-vote maybe', "error verifying flags, 'maybe' is not a valid flag. See 'muster-server --help'.", 1],
  ['-- extra', "error verifying flags, 'extra' is not a valid flag. See 'muster-server --help'.", 1],
  [
    '--listen-client-urls http://127.0.0.1:21410',
    "error verifying flags, --advertise-client-urls is required when --listen-client-urls is set explicitly. See 'muster-server --help'.",
    1,
  ],
  [
    '--heartbeat-interval 0',
    "error verifying flags, --heartbeat-interval must be >0 (set to 0ms). See 'muster-server --help'.",
    1,
  ],
  [
    '--election-timeout 0',
    "error verifying flags, --election-timeout must be >0 (set to 0ms). See 'muster-server --help'.",
    1,
  ],
  [
    '--heartbeat-interval 500',
    "error verifying flags, --election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[500ms]. See 'muster-server --help'.",
    1,
  ],
  [
    '--election-timeout 60000',
    "error verifying flags, --election-timeout[60000ms] is too long, and should be set less than 50000ms. See 'muster-server --help'.",
    1,
  ],
  [
    '--auto-compaction-mode foo',
    'error verifying flags, unknown auto-compaction-mode "foo". See \'muster-server --help\'.',
    1,
  ],
  ['--auto-compaction-retention foo', 'error parsing CompactionRetention: time: invalid duration "foo"', 1],
  [
    '--listen-client-urls http://example.com:14779 --advertise-client-urls http://127.0.0.1:1',
    "error verifying flags, expected IP in URL for binding (http://example.com:14779). See 'muster-server --help'.",
    1,
  ],
  [
    '--listen-client-urls https://127.0.0.1:1 --advertise-client-urls https://127.0.0.1:1',
    'TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme',
    1,
  ],
  [
    '--initial-cluster default',
    'error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ',
    1,
  ],
  [
    '--initial-cluster default=foo',
    'error setting up initial cluster: URL scheme must be http, https, unix, or unixs: foo',
    1,
  ],
  [
    '--listen-peer-urls https://127.0.0.1:21411',
    'cannot listen on TLS for 127.0.0.1:21411: KeyFile and CertFile are not presented',
    1,
  ],
  // Muster's own
  ['--max-sockets=0', 'invalid value "0" for flag -max-sockets: expected a whole number above 0', 2],
  [
    '--headers-timeout=0',
    'invalid value "0" for flag -headers-timeout: expected a duration above 0, such as 30s',
    2,
  ],
  [
    '--log-level=loud',
    'invalid value "loud" for flag -log-level: expected one of debug, info, warn, error, panic, fatal',
    2,
  ],
  [
    '--cert-file=x.pem',
    'flag --cert-file is not supported by this version of Muster; expected a start without it',
    1,
  ],
  [
    '--name=a=b',
    'error verifying flags, --name must be a text without "=", "," and "/" (set to "a=b"). See \'muster-server --help\'.',
    1,
  ],
  [
    '--snapshot-count=0',
    "error verifying flags, --snapshot-count must be >0 (set to 0). See 'muster-server --help'.",
    1,
  ],
  [
    '--max-request-bytes=999999999',
    "error verifying flags, --max-request-bytes must be between 1 and 33554432 (set to 999999999). See 'muster-server --help'.",
    1,
  ],
  [
    '--listen-peer-urls unix://localhost:1',
    'unix://localhost:1: unix sockets are not supported by this version of Muster; expected http://host:port',
    1,
  ],
];

describe('flags', () => {
  for (const [args, text, exit] of REFUSED) {
    it(`refuses ${args}`, () => {
      const refused = refusal(args);
      assert.equal(refused.message, text);
      assert.equal(refused.exitCode, exit);
      assert.equal(refusalText(refused).includes('Usage:'), exit === 2);
    });
  }

  it('take a value after a blank or an equals sign, behind one dash or two, and the last one counts', () => {
    for (const args of ['--name a', '--name=a', '-name a', '-name=a', '--name=b -name a']) {
      assert.equal(read(args).name, 'a');
    }
  });

  it('have the documented defaults', () => {
    const config = read('');
    assert.equal(config.dataDir, 'default.muster');
    assert.equal(config.electionMs, 1000);
    assert.equal(config.quotaBytes, 2 * 2 ** 30);
    assert.equal(config.watchProgressMs, 600_000);
    assert.deepEqual(config.autoCompaction, { mode: 'off' });
    assert.deepEqual([...config.initialCluster], [['default', ['http://localhost:2380']]]);
  });

  it('let a name take the place of the default in the initial cluster', () => {
    assert.deepEqual([...read('--name n1').initialCluster], [['n1', ['http://localhost:2380']]]);
  });

  it('gather several URLs of a member', () => {
    const { initialCluster } = read('--initial-cluster a=http://h:2,b=http://h:3,a=http://h:1');
    assert.deepEqual(
      [...initialCluster],
      [
        ['a', ['http://h:1', 'http://h:2']],
        ['b', ['http://h:3']],
      ],
    );
  });

  it('understand retentions', () => {
    const of = (args: string) => read(args).autoCompaction;
    assert.deepEqual(of('--auto-compaction-retention 5m'), { mode: 'periodic', retentionMs: 300_000 });
    assert.deepEqual(of('--auto-compaction-retention 1h30m'), { mode: 'periodic', retentionMs: 5_400_000 });
    assert.deepEqual(of('--auto-compaction-retention 2'), { mode: 'periodic', retentionMs: 7_200_000 });
    assert.deepEqual(of('--auto-compaction-mode revision --auto-compaction-retention 1000'), {
      mode: 'revision',
      retentionRevisions: 1000,
    });
  });

  it('know no quota, the default one, and large ones with a warning', () => {
    assert.equal(read('--quota-backend-bytes=-1').quotaBytes, 0);
    const warnings: string[] = [];
    configOf(readCommandLine(['--quota-backend-bytes=9000000000'], {}), warnings);
    assert.deepEqual(warnings, [
      '--quota-backend-bytes 9000000000 is above the recommended maximum of 8589934592',
    ]);
  });

  it('take flags of etcd that mean nothing here, with a warning', () => {
    for (const name of WITHOUT_EFFECT) {
      const line = readCommandLine([`--${name}=x`, '--name=a'], {});
      assert.equal(line.values.name, 'a');
      assert.deepEqual(line.warnings, [`flag --${name} has no effect here`]);
    }
    for (const name of NOT_YET)
      assert.match(refusal(`--${name}=x`).message, /is not supported by this version/);
  });
});

describe('the environment', () => {
  it('sets what no flag sets', () => {
    assert.equal(read('', { ETCD_HEARTBEAT_INTERVAL: '50' }).heartbeatMs, 50);
    assert.equal(read('', { MUSTER_MAX_SOCKETS: '5' }).gateway.sockets, 5);
    assert.equal(read('', { ETCD_HEARTBEAT_INTERVAL: '' }).heartbeatMs, 100);
  });

  it('counts as setting a flag', () => {
    const message = refusal('', { ETCD_LISTEN_CLIENT_URLS: 'http://127.0.0.1:1' }).message;
    assert.match(message, /--advertise-client-urls is required when --listen-client-urls is set explicitly/);
  });

  it('gives way to a flag', () => {
    const line = readCommandLine(['--heartbeat-interval=70'], { ETCD_HEARTBEAT_INTERVAL: '50' });
    assert.equal(configOf(line).heartbeatMs, 70);
    assert.deepEqual(line.warnings, [
      'environment variable ETCD_HEARTBEAT_INTERVAL is shadowed by flag --heartbeat-interval',
    ]);
  });

  it("refuses bad values in etcd's words", () => {
    const refused = refusal('', { ETCD_HEARTBEAT_INTERVAL: 'xx' });
    assert.equal(
      refused.message,
      'error verifying flags, invalid value "xx" for ETCD_HEARTBEAT_INTERVAL: parse error. See \'muster-server --help\'.',
    );
    assert.equal(refused.exitCode, 1);
  });

  it('warns about names that nobody knows, and refuses those whose meaning would be missed', () => {
    const { warnings } = readCommandLine([], {
      ETCD_FOO: 'x',
      MUSTER_BAR: 'y',
      ETCD_MAX_WALS: '3',
      PATH: '/',
    });
    assert.deepEqual(warnings, [
      'unrecognized environment variable ETCD_FOO=x',
      'unrecognized environment variable MUSTER_BAR=y',
      'environment variable ETCD_MAX_WALS has no effect here',
    ]);
    assert.match(refusal('', { ETCD_CERT_FILE: 'x' }).message, /ETCD_CERT_FILE is not supported/);
  });
});

describe('the table', () => {
  it('has defaults that its own parsers accept, and shows every flag in the help', () => {
    const help = helpText();
    for (const [name, flag] of Object.entries<Flag<unknown>>(FLAGS)) {
      assert.doesNotThrow(() => flag.parse(flag.fallback), name);
      assert.ok(help.includes(`--${name} '${flag.fallback}'`), name);
      assert.ok(!WITHOUT_EFFECT.has(name) && !NOT_YET.has(name), name);
      assert.match(envOf(name, flag.own), flag.own ? /^MUSTER_[A-Z_]+$/ : /^ETCD_[A-Z_]+$/);
    }
  });

  it('accepts a command line that names every flag', () => {
    const args = Object.entries<Flag<unknown>>(FLAGS).map(([name, flag]) => `--${name}=${flag.fallback}`);
    assert.doesNotThrow(() => configOf(readCommandLine([...args, ...CLIENTS.split(' ')], {})));
  });
});
