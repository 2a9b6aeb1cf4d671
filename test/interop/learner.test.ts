/** What a learner answers: etcdctl of Debian on a learner of the real etcd and of Muster, and gRPC's health check. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { credentials, makeGenericClientConstructor } from '@grpc/grpc-js';
import { Child } from '../support/child.ts';
import { debianProgram } from '../support/debian.ts';
import { temporaryDirectory } from '../support/muster.ts';
import { freePorts } from '../support/ports.ts';
import { canRun, KINDS, MUSTER_MAIN, SERVING } from './servers.ts';

const etcdctl = debianProgram('etcdctl', 'etcd-client');
const NOT_FOR_LEARNERS = /etcdserver: rpc not supported for learner/;

type Result = { readonly code: number; readonly out: string };

function run(endpoint: string, line: string): Promise<Result> {
  const args = [`--endpoints=${endpoint}`, '--command-timeout=5s', ...line.split(' ')];
  const env = { PATH: process.env.PATH, ETCDCTL_API: '3' };
  return new Promise((resolve) => {
    execFile(etcdctl as string, args, { env }, (error, stdout, stderr) =>
      resolve({ code: error ? 1 : 0, out: `${stdout}${stderr}` }),
    );
  });
}

const Health = makeGenericClientConstructor(
  {
    check: {
      path: '/grpc.health.v1.Health/Check',
      requestStream: false,
      responseStream: false,
      requestSerialize: (bytes: Buffer) => bytes,
      requestDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
    },
  },
  'Health',
);

/** The answer's bytes in hexadecimal (`0801` is serving), or the error's text. */
function health(address: string): Promise<string> {
  const client = new Health(address, credentials.createInsecure());
  return new Promise((resolve) => {
    const done = (error: { details: string } | null, answer: Buffer) => {
      client.close();
      resolve(error === null ? answer.toString('hex') : error.details);
    };
    (client as unknown as { check(request: Buffer, done: unknown): void }).check(Buffer.alloc(0), done);
  });
}

for (const kind of KINDS) {
  const skip = etcdctl === undefined || !canRun(kind);
  describe(`a learner of ${kind}`, { skip, timeout: 60_000 }, () => {
    test('answers its status and serializable ranges, and refuses the rest', async () => {
      const dir = temporaryDirectory(`learner-${kind}`);
      const ports = await freePorts(4);
      const url = (at: number) => `http://127.0.0.1:${ports[at]}`;
      const children: Child[] = [];
      const start = async (name: string, at: number, cluster: string, ...flags: readonly string[]) => {
        const args = [
          `--name=${name}`,
          `--data-dir=${join(dir, name)}`,
          `--listen-client-urls=${url(at)}`,
          `--advertise-client-urls=${url(at)}`,
          `--listen-peer-urls=${url(at + 1)}`,
          `--initial-advertise-peer-urls=${url(at + 1)}`,
          `--initial-cluster=${cluster}`,
          ...flags,
        ];
        const child =
          kind === 'etcd'
            ? new Child(debianProgram('etcd', 'etcd-server') as string, [...args, '--logger=zap'])
            : new Child(process.execPath, [MUSTER_MAIN, ...args]);
        children.push(child);
        await child.ready(async () => assert.ok(SERVING.test(child.output)), 30_000);
        return child;
      };
      try {
        await start('m0', 0, `m0=${url(1)}`);
        assert.equal((await run(url(0), 'put a 1')).code, 0);
        const added = await run(url(0), `member add m1 --learner --peer-urls=${url(3)}`);
        assert.equal(added.code, 0, added.out);
        await start('m1', 2, `m0=${url(1)},m1=${url(3)}`, '--initial-cluster-state=existing');

        assert.equal((await run(url(2), 'get a --consistency=s')).out, 'a\n1\n');
        assert.match((await run(url(2), 'endpoint status')).out, /, false, true, \d+, \d+, \d+, \n$/);
        for (const line of ['get a', 'put a 2', 'del a', 'lease list', 'member list', 'alarm list']) {
          const { code, out } = await run(url(2), line);
          assert.equal(code, 1, line);
          assert.match(out, NOT_FOR_LEARNERS, line);
        }
        const unhealthy = await run(url(2), 'endpoint health');
        assert.equal(unhealthy.code, 1);
        assert.match(
          unhealthy.out,
          /is unhealthy: failed to commit proposal: .*rpc not supported for learner/,
        );
        assert.match(await health(`127.0.0.1:${ports[2]}`), NOT_FOR_LEARNERS);
        assert.equal(await health(`127.0.0.1:${ports[0]}`), '0801');
        assert.match((await run(url(0), 'endpoint health')).out, /is healthy/);
      } finally {
        await Promise.all(children.map((child) => child.stop('SIGKILL')));
        rmSync(dir, { recursive: true, force: true });
      }
    });
  });
}
