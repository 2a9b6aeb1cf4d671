/** The files under `deploy` say nothing that this server would not understand. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, it } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { readEnvFile } from '../../../test/support/env-file.ts';
import { readCommandLine } from './command-line.ts';
import { type Config, configOf } from './config.ts';

const DEPLOY = join(import.meta.dirname, '../deploy');
const ROOT = join(import.meta.dirname, '../../..');
const read = (name: string) => readFileSync(join(DEPLOY, name), 'utf8');

/** The config of a start, which must not have been warned of anything. */
function startOf(args: readonly string[], env: Readonly<Record<string, string>>): Config {
  const line = readCommandLine(args, env);
  const warnings = [...line.warnings];
  const config = configOf(line, warnings);
  assert.deepEqual(
    warnings.filter((warning) => !warning.startsWith('the scheme of http://')),
    [],
  );
  return config;
}

type Resource = {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: {
    readonly replicas: number;
    readonly serviceName: string;
    readonly template: { readonly spec: { readonly containers: readonly Container[] } };
  };
};
type Probe = { readonly httpGet: { readonly path: string; readonly port: string } };
type Container = {
  readonly args: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly volumeMounts: readonly { readonly mountPath: string }[];
};

describe('the deployment files', () => {
  it('have an environment file of which every variable is known', () => {
    const config = startOf([], readEnvFile(join(DEPLOY, 'etcd.env')));
    assert.deepEqual([...config.initialCluster.keys()], ['etcd1', 'etcd2', 'etcd3']);
    assert.deepEqual(config.initialCluster.get('etcd1'), config.advertisePeerUrls);
    assert.equal(config.clientTls?.policy.requireCertificate, true);
    assert.equal(config.peerTls?.policy.requireCertificate, true);
  });

  it('have a unit that starts this program with that file, and again when it fails', () => {
    const entries = read('muster.service')
      .split('\n')
      .map((line) => /^([A-Za-z]+)=(.*)$/.exec(line))
      .filter((match) => match !== null)
      .map(([, key = '', value = '']) => [key, value] as const);
    const unit = Object.fromEntries(entries);
    assert.equal(unit.Restart, 'on-failure');
    assert.equal(unit.EnvironmentFile, '/etc/etcd.env');
    const [, ...args] = unit.ExecStart?.split(' ') ?? [];
    const program = args[0]?.replace('/opt/muster', ROOT) ?? '';
    assert.ok(existsSync(program), program);
    assert.equal(basename(program), 'main.ts');
    startOf(args.slice(1), readEnvFile(join(DEPLOY, 'etcd.env')));
  });

  it('have a Dockerfile whose variables and program are known', () => {
    const text = read('Dockerfile');
    const variables = [...text.matchAll(/^ENV (\w+)=(.*)$/gm)].map(([, name = '', value = '']) => [
      name,
      value,
    ]);
    assert.equal(startOf([], Object.fromEntries(variables)).dataDir, '/var/lib/muster');
    const entry = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(text)?.[1] ?? '[]') as string[];
    assert.ok(existsSync((entry[1] ?? '').replace('/opt/muster', ROOT)));
    const major = /^FROM node:(\d+)-/m.exec(text)?.[1];
    assert.equal(
      major,
      process.versions.node.split('.')[0],
      'the image has the Node that the tests ran with',
    );
  });

  it('have manifests whose members know each other, and whose probes and ports are there', () => {
    const documents = parseAllDocuments(read('kubernetes.yaml'));
    for (const document of documents) assert.deepEqual(document.errors, []);
    const resources = documents.map((document) => document.toJS() as Resource);
    const set = resources.find(({ kind }) => kind === 'StatefulSet');
    const container = set?.spec.template.spec.containers[0];
    assert.ok(set && container);
    assert.ok(
      resources.some(({ kind, metadata }) => kind === 'Service' && metadata.name === set.spec.serviceName),
    );
    const port = (name: string) => container.ports.find((one) => one.name === name)?.containerPort;
    for (let i = 0; i < set.spec.replicas; i++) {
      const args = container.args.map((arg) => arg.replaceAll('$(POD_NAME)', `${set.metadata.name}-${i}`));
      const config = startOf(args, {});
      assert.equal(config.initialCluster.size, set.spec.replicas);
      assert.deepEqual(config.initialCluster.get(config.name), config.advertisePeerUrls);
      const ports = [config.listenClientUrls, config.listenPeerUrls, config.listenMetricsUrls].map((urls) =>
        Number(urls[0]?.split(':').at(-1)),
      );
      assert.deepEqual(ports, [port('client'), port('peer'), port('metrics')]);
      for (const file of Object.values({ ...config.clientTls?.files, ...config.peerTls?.files })) {
        assert.ok(
          container.volumeMounts.some(({ mountPath }) => file.startsWith(`${mountPath}/`)),
          file,
        );
      }
    }
    for (const probe of [container.startupProbe, container.livenessProbe, container.readinessProbe]) {
      assert.match(probe.httpGet.path, /^\/(livez|readyz)$/);
      assert.notEqual(port(probe.httpGet.port), undefined);
    }
  });
});
