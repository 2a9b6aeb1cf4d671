import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request as requestPlain } from 'node:http';
import { request } from 'node:https';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Child } from '../../../test/support/child.ts';
import { temporaryDirectory } from '../../../test/support/muster.ts';
import { freePorts } from '../../../test/support/ports.ts';

const MAIN = new URL('./main.ts', import.meta.url).pathname;

describe('the server process', () => {
  const directory = temporaryDirectory('process-tls');
  const children: Child[] = [];
  const start = (...args: readonly string[]) => {
    const child = new Child(process.execPath, [MAIN, ...args]);
    children.push(child);
    return child;
  };
  const ready = (child: Child) =>
    child.ready(async () => assert.match(child.output, /"ready to serve client requests"/), 60_000);

  after(async () => {
    await Promise.all(children.map((child) => child.stop('SIGKILL')));
  });

  it('makes certificates for both ports when asked to, keeps them, and is described by a file', async () => {
    const [client, peer, metrics] = await freePorts(3);
    const dataDir = join(directory, 'made');
    const file = join(directory, 'muster.yaml');
    writeFileSync(
      file,
      [
        'name: n1',
        `data-dir: ${dataDir}`,
        `wal-dir: ${join(directory, 'log')}`,
        `listen-client-urls: https://127.0.0.1:${client}`,
        `advertise-client-urls: https://127.0.0.1:${client}`,
        `listen-peer-urls: https://127.0.0.1:${peer}`,
        `initial-advertise-peer-urls: https://127.0.0.1:${peer}`,
        `initial-cluster: n1=https://127.0.0.1:${peer}`,
        `listen-metrics-urls: http://127.0.0.1:${metrics}`,
        'client-transport-security: {auto-tls: true}',
        'peer-transport-security: {auto-tls: true}',
        // For connections without TLS alone.
        'host-whitelist: [elsewhere.example]',
      ].join('\n'),
    );
    const child = start(`--config-file=${file}`, '--name=ignored');
    await ready(child);
    const ca = readFileSync(join(dataDir, 'fixtures/client/cert.pem'));
    const version = async () => {
      const req = request({ host: '127.0.0.1', port: client, path: '/version', ca, agent: false }).end();
      const [res] = (await once(req, 'response')) as [IncomingMessage];
      res.resume();
      return res.statusCode;
    };
    assert.equal(await version(), 200);
    const plain = async (path: string, host: string) => {
      const req = requestPlain({
        host: '127.0.0.1',
        port: metrics,
        path,
        headers: { host },
        agent: false,
      }).end();
      const [res] = (await once(req, 'response')) as [IncomingMessage];
      res.resume();
      return res.statusCode;
    };
    assert.equal(await plain('/readyz', 'elsewhere.example'), 200);
    assert.equal(await plain('/metrics', 'elsewhere.example:80'), 200);
    assert.equal(await plain('/version', 'elsewhere.example'), 404);
    assert.equal(await plain('/metrics', '127.0.0.1'), 421);
    assert.equal(await child.stop(), 'exit code 0');
    const again = start(`--config-file=${file}`);
    await ready(again);
    assert.deepEqual(readFileSync(join(dataDir, 'fixtures/client/cert.pem')), ca);
    assert.equal(await version(), 200);
  });

  it('refuses the data of an etcd, missing files and unknown suites with a sentence', async () => {
    const dataDir = join(directory, 'etcd');
    mkdirSync(join(dataDir, 'member/wal'), { recursive: true });
    const etcd = start(`--data-dir=${dataDir}`);
    assert.equal(await etcd.exited, 'exit code 1');
    assert.match(etcd.output, /^data directory .* holds the data of an etcd .*musterctl import/);
    const [client] = await freePorts(1);
    const https = [`--listen-client-urls=https://127.0.0.1:${client}`, '--advertise-client-urls=https://x:1'];
    const files = [
      `--data-dir=${join(directory, 'none')}`,
      '--cert-file=/nowhere/c.pem',
      '--key-file=/nowhere/k.pem',
    ];
    const missing = start(...https, ...files);
    assert.equal(await missing.exited, 'exit code 1');
    assert.equal(missing.output, 'open /nowhere/c.pem: no such file or directory\n');
    const cipher = start(...https, ...files, '--cipher-suites=FOO');
    assert.equal(await cipher.exited, 'exit code 1');
    assert.equal(cipher.output, 'unexpected TLS cipher suite "FOO"\n');
  });
});
