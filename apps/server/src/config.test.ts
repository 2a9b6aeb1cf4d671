import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryDirectory } from '../../../test/support/muster.ts';
import { readCommandLine, refusalText, StartRefused } from './command-line.ts';
import { type Config, configOf } from './config.ts';
import { FLAGS, type Flag, FORMER_NAMES } from './flag-table.ts';
import { envOf, helpText, IDLE, IDLE_BOOLEANS, REFUSED as REFUSED_NAMES } from './flags.ts';

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
  ['--cert-file=x.pem', '--cert-file and --key-file must both be present or both be absent', 1],
  [
    '--discovery-token=x',
    'flag --discovery-token is not supported: there is no discovery service; name the members in --initial-cluster, or use --discovery-srv',
    1,
  ],
  [
    '--tls-min-version=TLS1.1',
    'invalid value "TLS1.1" for flag -tls-min-version: unexpected TLS version "TLS1.1"',
    2,
  ],
  [
    '--tls-min-version=TLS1.3 --tls-max-version=TLS1.2',
    "error verifying flags, min version (TLS1.3) is greater than max version (TLS1.2). See 'muster-server --help'.",
    1,
  ],
  [
    '--tls-min-version=TLS1.3 --cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA --cert-file=a --key-file=b',
    "error verifying flags, cipher suites cannot be configured when only TLS1.3 is enabled. See 'muster-server --help'.",
    1,
  ],
  [
    '--initial-cluster a=http://127.0.0.1:1 --discovery-srv example.com',
    'error verifying flags, multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery" or "discovery-srv". See \'muster-server --help\'.',
    1,
  ],
  [
    '--proxy=on',
    "error verifying flags, --proxy=on is not supported: the v2 proxy is gone; expected --proxy=off. See 'muster-server --help'.",
    1,
  ],
  [
    '--feature-gates=Bogus=true',
    'invalid value "Bogus=true" for flag -feature-gates: unrecognized feature gate: Bogus',
    2,
  ],
  [
    '--config-file=/nowhere/muster.yaml',
    "error verifying flags, /nowhere/muster.yaml: open /nowhere/muster.yaml: no such file or directory. See 'muster-server --help'.",
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
    'unix://localhost:1: peers are not served on unix sockets; expected http://host:port or https://host:port',
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

  it('take flags of etcd that mean nothing here, with a warning that says why', () => {
    for (const [name, why] of Object.entries(IDLE)) {
      const forms = IDLE_BOOLEANS.has(name)
        ? [[`--${name}`], [`--${name}=false`]]
        : [[`--${name}=x`], [`--${name}`, 'x']];
      for (const form of forms) {
        const line = readCommandLine([...form, '--name=a'], {});
        assert.equal(line.values.name, 'a');
        assert.deepEqual(line.warnings, [`flag --${name} has no effect here: ${why}`]);
      }
    }
    for (const name of Object.keys(REFUSED_NAMES))
      assert.match(refusal(`--${name}=x`).message, /is not supported: /);
  });

  it('know the former names of flags, in arguments and variables', () => {
    for (const [former, name] of Object.entries(FORMER_NAMES)) {
      const text = FLAGS[name].fallback === '1' ? '2' : /^\d+$/.test(FLAGS[name].fallback) ? '77' : '77s';
      const expected = FLAGS[name].parse(text);
      assert.deepEqual(readCommandLine([`--${former}=${text}`], {}).values[name], expected);
      assert.deepEqual(readCommandLine([], { [envOf(former, false)]: text }).values[name], expected);
    }
  });

  it('suggest the nearest name', () => {
    const hint = (args: string) => refusalText(refusal(args)).split('\n')[1];
    assert.equal(hint('--initial-clusters=x'), 'Did you mean --initial-cluster?');
    assert.equal(hint('--election-timout=x'), 'Did you mean --election-timeout?');
    assert.equal(hint('--quota-backend-byte=x'), 'Did you mean --quota-backend-bytes?');
    assert.equal(hint('--zzzzzzzzzzzzzzzzz=x'), 'Usage:');
  });

  it('turn features on by their gates or by their former flags, not by both', () => {
    assert.equal(read('').initialCorruptCheck, false);
    assert.equal(read('').compactHashCheckMs, 0);
    assert.equal(read('--feature-gates=InitialCorruptCheck=true').initialCorruptCheck, true);
    assert.equal(read('--experimental-initial-corrupt-check').initialCorruptCheck, true);
    assert.equal(read('', { ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK: 'True' }).initialCorruptCheck, true);
    assert.equal(read('--feature-gates=CompactHashCheck=true').compactHashCheckMs, 60_000);
    assert.match(
      refusal('--experimental-initial-corrupt-check --feature-gates=InitialCorruptCheck=true').message,
      /cannot specify both flags/,
    );
  });
});

describe('TLS in the flags', () => {
  const https = '--listen-client-urls=https://127.0.0.1:1 --advertise-client-urls=https://127.0.0.1:1';
  const pair = '--cert-file=c --key-file=k';

  it('is off without https, on with a certificate, and asks for certificates where an authority is named', () => {
    assert.equal(read('').clientTls, undefined);
    const one = read(`${https} ${pair}`).clientTls;
    assert.deepEqual(one?.files, { cert: 'c', key: 'k' });
    assert.equal(one?.policy.requireCertificate, false);
    const trusting = read(`${https} ${pair} --trusted-ca-file=ca`).clientTls;
    assert.equal(trusting?.policy.requireCertificate, true);
    assert.equal(trusting?.policy.certificateNames, false);
    const mutual = read(`${https} ${pair} --trusted-ca-file=ca --client-cert-auth`).clientTls;
    assert.equal(mutual?.policy.certificateNames, true);
  });

  it('has settings of its own for peers', () => {
    const peers = '--listen-peer-urls=https://127.0.0.1:2 --initial-advertise-peer-urls=https://127.0.0.1:2';
    const { peerTls, clientTls } = read(
      `${peers} --initial-cluster=default=https://127.0.0.1:2 --peer-cert-file=c --peer-key-file=k ` +
        '--peer-client-cert-file=cc --peer-client-key-file=ck --peer-trusted-ca-file=ca --peer-crl-file=crl ' +
        '--peer-cert-allowed-cn=a,b --peer-cert-allowed-hostname=h --tls-max-version=TLS1.2 ' +
        '--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256',
    );
    assert.equal(clientTls, undefined);
    assert.deepEqual(peerTls, {
      files: { cert: 'c', key: 'k', clientCert: 'cc', clientKey: 'ck', ca: 'ca', crl: 'crl' },
      policy: {
        requireCertificate: true,
        allowedNames: ['a', 'b'],
        allowedHosts: ['h'],
        cipherSuites: ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'],
        minVersion: 'TLSv1.2',
        maxVersion: 'TLSv1.2',
        certificateNames: false,
        trustAnyServer: false,
      },
      selfSignedYears: undefined,
    });
  });

  it('warns of plain URLs beside certificates', () => {
    const warnings: string[] = [];
    configOf(readCommandLine(`${CLIENTS} ${pair}`.split(' '), {}), warnings);
    assert.match(warnings[0] ?? '', /^the scheme of http:\/\/127\.0\.0\.1:21410 is plain/);
  });
});

describe('a configuration file', () => {
  const directory = temporaryDirectory('config');
  const file = (text: string) => {
    const path = join(directory, 'muster.yaml');
    writeFileSync(path, text);
    return path;
  };

  it("has etcd's keys, and makes all other flags and variables count for nothing", () => {
    const path = file(`
name: n1
data-dir: /var/lib/n1
wal-dir:
snapshot-count: 5000
heartbeat-interval: 50
election-timeout: 500
quota-backend-bytes: 0
listen-peer-urls: http://127.0.0.1:1
listen-client-urls: https://127.0.0.1:2,https://127.0.0.1:3
advertise-client-urls: [https://127.0.0.1:2]
cors:
initial-cluster: n1=http://localhost:2380
strict-reconfig-check: false
grpc-keepalive-min-time: 7000000000
grpc-keepalive-interval: 1h
client-transport-security:
  cert-file: c.pem
  key-file: k.pem
  client-cert-auth: true
  trusted-ca-file: ca.pem
  auto-tls: false
peer-transport-security:
  cert-file:
  allowed-cn: peer
log-outputs: [stderr, /tmp/x]
max-wals: 3
heartbeat-intervall: 3
`);
    const line = readCommandLine([`--config-file=${path}`, '--name=other'], { ETCD_ELECTION_TIMEOUT: '900' });
    const config = configOf(line);
    assert.equal(config.name, 'n1');
    assert.equal(config.electionMs, 500);
    assert.deepEqual(config.listenClientUrls, ['https://127.0.0.1:2', 'https://127.0.0.1:3']);
    assert.equal(config.membership.strictReconfig, false);
    assert.equal(config.grpc.keepAliveMinMs, 7000);
    assert.equal(config.grpc.keepAliveIntervalMs, 3_600_000);
    assert.deepEqual(config.clientTls?.files, { cert: 'c.pem', key: 'k.pem', ca: 'ca.pem' });
    assert.deepEqual(config.logOutputs, ['stderr', '/tmp/x']);
    assert.deepEqual(line.warnings.slice(1), [
      `${path}: max-wals has no effect here: as much of the log is kept as is needed`,
      `${path}: heartbeat-intervall is not known; did you mean heartbeat-interval?`,
    ]);
    assert.match(line.warnings[0] ?? '', /^Loading server configuration from /);
    assert.equal(read('--name=x', { ETCD_CONFIG_FILE: path }).name, 'n1');
  });

  it('may be JSON, and is refused with a sentence that names the place', () => {
    assert.equal(read(`--config-file=${file('{"name": "json"}')}`).name, 'json');
    const why = (text: string) => refusal(`--config-file=${file(text)}`).message.split('muster.yaml: ')[1];
    assert.match(why('name: &a x\ndata-dir: *a') ?? '', /^aliases \(\*name\) are not taken/);
    assert.match(why('name: !!js/function x') ?? '', /^Unresolved tag/);
    assert.match(why('---\nname: x\n---\nname: y') ?? '', /^Source contains multiple documents/);
    assert.match(why('- a') ?? '', /^expected a map of flags/);
    assert.match(why('name: [') ?? '', /Flow sequence/);
    assert.match(why('name: {a: b}') ?? '', /^name must be a text, a number, true or false/);
    assert.match(why('peer-transport-security: x') ?? '', /^peer-transport-security must be a map/);
    assert.match(
      why('heartbeat-interval: soon') ?? '',
      /^invalid value "soon" for heartbeat-interval: parse error/,
    );
    assert.match(why('cert-file: a\nclient-transport-security: {cert-file: b}') ?? '', /is given twice/);
    assert.match(why('discovery: http://x') ?? '', /^discovery is not supported/);
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
      'environment variable ETCD_MAX_WALS has no effect here: as much of the log is kept as is needed',
    ]);
    assert.match(refusal('', { ETCD_DISCOVERY: 'x' }).message, /ETCD_DISCOVERY is not supported/);
  });
});

describe('the table', () => {
  it('has defaults that its own parsers accept, and shows every flag in the help', () => {
    const help = helpText();
    for (const [name, flag] of Object.entries<Flag<unknown>>(FLAGS)) {
      assert.doesNotThrow(() => flag.parse(flag.fallback), name);
      assert.ok(help.includes(`--${name} '${flag.fallback}'`), name);
      assert.ok(![IDLE, REFUSED_NAMES, FORMER_NAMES].some((table) => Object.hasOwn(table, name)), name);
      assert.match(envOf(name, flag.own), flag.own ? /^MUSTER_[A-Z_]+$/ : /^ETCD_[A-Z_]+$/);
    }
  });

  it('accepts a command line that names every flag', () => {
    const args = Object.entries<Flag<unknown>>(FLAGS)
      .filter(([name]) => name !== 'config-file')
      .map(([name, flag]) => `--${name}=${flag.fallback}`);
    assert.doesNotThrow(() => configOf(readCommandLine([...args, ...CLIENTS.split(' ')], {})));
  });
});
