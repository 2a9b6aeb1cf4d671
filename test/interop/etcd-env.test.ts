/** Three members over TLS out of files in the shape in which kubespray writes `/etc/etcd.env`, used with etcdctl. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { CertificateAuthority, type KeyPair } from '../support/certificates.ts';
import { Child } from '../support/child.ts';
import { debianProgram } from '../support/debian.ts';
import { readEnvFile } from '../support/env-file.ts';
import { temporaryDirectory } from '../support/muster.ts';
import { freePorts } from '../support/ports.ts';

const SERVER = new URL('../../apps/server/src/main.ts', import.meta.url).pathname;
const MUSTERCTL = new URL('../../apps/cli/src/bootstrap.mjs', import.meta.url).pathname;
const etcdctl = debianProgram('etcdctl', 'etcd-client');

type Node = {
  readonly name: string;
  readonly ip: string;
  readonly clientPort: number;
  readonly peerPort: number;
};
type Files = { readonly ca: string; readonly member: KeyPair; readonly admin: KeyPair };

/** What kubespray's template gives for a host with `etcd_deployment_type: host`, with ports of the test. */
function envFile(node: Node, nodes: readonly Node[], files: Files, dataDir: string): string {
  const { name, ip, clientPort, peerPort } = node;
  const cluster = nodes.map((one) => `${one.name}=https://${one.ip}:${one.peerPort}`).join(',');
  return `# Environment file for etcd v3.5.12
ETCD_DATA_DIR=${dataDir}
ETCD_ADVERTISE_CLIENT_URLS=https://${ip}:${clientPort}
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://${ip}:${peerPort}
ETCD_INITIAL_CLUSTER_STATE=new
ETCD_METRICS=basic
ETCD_LISTEN_CLIENT_URLS=https://${ip}:${clientPort},https://127.0.0.1:${clientPort}
ETCD_ELECTION_TIMEOUT=5000
ETCD_HEARTBEAT_INTERVAL=250
ETCD_INITIAL_CLUSTER_TOKEN=k8s_etcd
ETCD_LISTEN_PEER_URLS=https://${ip}:${peerPort}
ETCD_NAME=${name}
ETCD_PROXY=off
ETCD_INITIAL_CLUSTER=${cluster}
ETCD_AUTO_COMPACTION_RETENTION=8
ETCD_SNAPSHOT_COUNT=10000
ETCD_QUOTA_BACKEND_BYTES=2147483648
ETCD_MAX_REQUEST_BYTES=1572864
ETCD_LOG_LEVEL=info
ETCD_MAX_SNAPSHOTS=5
ETCD_MAX_WALS=5
# Flannel need etcd v2 API
ETCD_ENABLE_V2=true

# TLS settings
ETCD_TRUSTED_CA_FILE=${files.ca}
ETCD_CERT_FILE=${files.member.cert}
ETCD_KEY_FILE=${files.member.key}
ETCD_CLIENT_CERT_AUTH=true

ETCD_PEER_TRUSTED_CA_FILE=${files.ca}
ETCD_PEER_CERT_FILE=${files.member.cert}
ETCD_PEER_KEY_FILE=${files.member.key}
ETCD_PEER_CLIENT_CERT_AUTH=True


# CLI settings
ETCDCTL_ENDPOINTS=https://127.0.0.1:${clientPort}
ETCDCTL_CACERT=${files.ca}
ETCDCTL_KEY=${files.admin.key}
ETCDCTL_CERT=${files.admin.cert}

# ETCD 3.5.x issue
# https://groups.google.com/a/kubernetes.io/g/dev/c/B7gJs88XtQc/m/rSgNOzV2BwAJ
ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK=True
ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL=5s
`;
}

/** A program with the `ETCDCTL_*` part of an environment file, as an operator has it after sourcing that. */
class Shell {
  readonly #command: readonly string[];
  readonly #file: Readonly<Record<string, string>>;
  readonly #env: NodeJS.ProcessEnv;

  constructor(command: readonly string[], file: Readonly<Record<string, string>>) {
    this.#command = command;
    this.#file = file;
    this.#env = { PATH: process.env.PATH, HOME: process.env.HOME, ETCDCTL_API: '3', ...file };
  }

  /** The same with other endpoints: etcdctl 3.4 refuses a flag beside a variable. */
  at(endpoints: string): Shell {
    return new Shell(this.#command, { ...this.#file, ETCDCTL_ENDPOINTS: endpoints });
  }

  run(
    ...args: readonly string[]
  ): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
    const [file = '', ...before] = this.#command;
    return new Promise((resolve) => {
      execFile(file, [...before, ...args], { env: this.#env, timeout: 20_000 }, (error, out, err) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err }),
      );
    });
  }

  /** What it prints, when it succeeds. */
  async says(...args: readonly string[]): Promise<string> {
    const { code, out, err } = await this.run(...args);
    assert.equal(code, 0, `${args.join(' ')}: ${out}${err}`);
    return out;
  }

  start(...args: readonly string[]): ChildProcess {
    const [file = '', ...before] = this.#command;
    return spawn(file, [...before, ...args], { env: this.#env, stdio: ['ignore', 'pipe', 'inherit'] });
  }
}

describe('a cluster out of /etc/etcd.env', { timeout: 120_000 }, () => {
  const directory = temporaryDirectory('etcd-env');
  const children: Child[] = [];
  let nodes: Node[] = [];
  let endpoints = '';
  let envFiles: Readonly<Record<string, string>>[] = [];
  let files: Files;

  before(async () => {
    const ports = await freePorts(6);
    nodes = [1, 2, 3].map((i) => ({
      name: `etcd${i}`,
      ip: `127.0.0.${i + 1}`,
      clientPort: ports[i - 1] as number,
      peerPort: ports[i + 2] as number,
    }));
    endpoints = nodes.map(({ ip, clientPort }) => `https://${ip}:${clientPort}`).join(',');
    const authority = new CertificateAuthority('etcd-ca');
    const addresses = ['127.0.0.1', ...nodes.map(({ ip }) => ip)];
    files = {
      ca: authority.cert,
      member: authority.issue({ name: 'etcd-member', addresses }),
      admin: authority.issue({ name: 'etcd-admin', usage: 'clientAuth' }),
    };
    envFiles = nodes.map((node) => {
      const path = join(directory, `${node.name}.env`);
      writeFileSync(path, envFile(node, nodes, files, join(directory, node.name)));
      return readEnvFile(path);
    });
    children.push(...envFiles.map((env) => new Child(process.execPath, [SERVER], { env })));
    await Promise.all(
      children.map((child) =>
        child.ready(async () => assert.match(child.output, /"ready to serve client requests"/), 60_000),
      ),
    );
  });

  after(async () => {
    await Promise.all(children.map((child) => child.stop()));
  });

  it('starts with what it has no use for named, and nothing else unusual', () => {
    for (const child of children) {
      const warnings = child.output.matchAll(
        /"level":"(?:warn|error)".*"msg":"(environment[^"]*|unrecog[^"]*)"/g,
      );
      assert.deepEqual([...warnings].map(([, text]) => /ETCD_\w+/.exec(text ?? '')?.[0]).sort(), [
        'ETCD_ENABLE_V2',
        'ETCD_MAX_SNAPSHOTS',
        'ETCD_MAX_WALS',
      ]);
    }
  });

  const programs = [
    ['etcdctl', etcdctl === undefined ? undefined : [etcdctl]],
    ['musterctl', [process.execPath, MUSTERCTL]],
  ] as const;
  for (const [name, command] of programs) {
    it(`answers ${name} as an operator expects`, {
      skip: command === undefined && 'not installed',
    }, async () => {
      assert.ok(command !== undefined);
      const shell = new Shell(command, envFiles[0] ?? {});
      await transcript(shell, nodes, endpoints);
    });

    it(`refuses ${name} without a client certificate, and says so in the log`, {
      skip: command === undefined && 'not installed',
    }, async () => {
      assert.ok(command !== undefined);
      const { ETCDCTL_CERT: _, ETCDCTL_KEY: __, ...without } = envFiles[0] ?? {};
      const shell = new Shell(command, without);
      for (const args of [
        ['put', 'x', 'y'],
        ['get', 'test1'],
        ['member', 'list'],
      ]) {
        const { code, out } = await shell.run('--command-timeout=1s', '--dial-timeout=1s', ...args);
        assert.notEqual(code, 0, args.join(' '));
        assert.equal(out, '');
      }
      assert.match(children[0]?.output ?? '', /"no certificate was shown","msg":"rejected connection"/);
    });
  }
});

async function transcript(shell: Shell, nodes: readonly Node[], endpoints: string): Promise<void> {
  const members = (await shell.says('member', 'list')).trim().split('\n');
  const listed = members.map((line) => line.split(', ').slice(1, 5));
  assert.deepEqual(
    listed.sort(),
    nodes.map((node) => [
      'started',
      node.name,
      `https://${node.ip}:${node.peerPort}`,
      `https://${node.ip}:${node.clientPort}`,
    ]),
  );
  const table = await shell.at(endpoints).says('endpoint', 'status', '--write-out=table');
  for (const endpoint of endpoints.split(',')) assert.ok(table.includes(`| ${endpoint} |`), table);
  assert.equal(table.match(/\| +true \| +false \|/g)?.length, 1, table);
  assert.match(table.split('\n')[1] ?? '', /^\| +ENDPOINT +\| +ID +\| +VERSION/);

  assert.equal(await shell.says('put', 'test1', 'a'), 'OK\n');
  assert.equal(await shell.says('put', 'test2', 'b'), 'OK\n');
  assert.equal(await shell.at(endpoints).says('get', '--prefix', 'test'), 'test1\na\ntest2\nb\n');

  const watch = shell.start('watch', '--prefix', '/json', '--rev=1');
  let seen = '';
  watch.stdout?.setEncoding('utf8').on('data', (text: string) => {
    seen += text;
  });
  await shell.says('put', '/json/user/a1', '12');
  await shell.says('put', '/json/user/a2', '13');
  assert.equal(await shell.says('del', '/json/user/a1'), '1\n');
  const expected = 'PUT\n/json/user/a1\n12\nPUT\n/json/user/a2\n13\nDELETE\n/json/user/a1\n\n';
  while (!seen.endsWith(expected) && watch.stdout) await once(watch.stdout, 'data');
  const ended = once(watch, 'exit');
  watch.kill('SIGINT');
  await ended;

  await shell.says('put', '/registry/pods/default/web', 'pod');
  const fields = await shell.says('get', '/registry', '--prefix', '-w=fields');
  assert.match(fields, /"Key" : "\/registry\/pods\/default\/web"\n/);
  assert.match(fields, /"Value" : "pod"\n/);
  assert.match(fields, /"Count" : 1\n/);
  const json = JSON.parse(await shell.says('get', '/registry', '--prefix', '-w=json')) as {
    kvs: { key: string; value: string }[];
    count: number;
  };
  assert.equal(json.count, 1);
  assert.equal(Buffer.from(json.kvs[0]?.key ?? '', 'base64').toString(), '/registry/pods/default/web');
  await shell.says('del', '/json', '--prefix');
}
