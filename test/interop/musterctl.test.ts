/** musterctl beside etcdctl: the same command lines against the same server print the same. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Child } from '../support/child.ts';
import { debianProgram } from '../support/debian.ts';
import { canRun, KINDS, type Servers, startServers } from './servers.ts';

const MUSTERCTL = new URL('../../apps/cli/bin/musterctl', import.meta.url).pathname;
const etcdctl = debianProgram('etcdctl', 'etcd-client');

type Output = { readonly code: number; readonly out: string; readonly err: string };

function runProgram(file: string, args: readonly string[], input = ''): Promise<Output> {
  return new Promise((resolve) => {
    const child = execFile(
      file,
      args,
      { env: { ...process.env, ETCDCTL_API: '3', MUSTERCTL_NAME: 'etcdctl' }, timeout: 30_000 },
      (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err: withoutLog(err) }),
    );
    child.stdin?.end(input);
  });
}

/** etcdctl 3.4 logs its retries as JSON. */
function withoutLog(text: string): string {
  return text.replace(/^\{"level".*\n/gm, '');
}

/** What differs from one run to the next: revisions of writes, ids of leases, times, sizes and indexes of the log. */
function masked(text: string): string {
  return text
    .replace(
      /("(?:revision|create_revision|mod_revision|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse)":)\d+/g,
      '$1#',
    )
    .replace(
      /("(?:Revision|CreateRevision|ModRevision|PrevModRevision|PrevCreateRevision|RaftIndex|RaftAppliedIndex|DBSize)" : )\d+/g,
      '$1#',
    )
    .replace(/("(?:ID|version)":|"(?:ID|Version|PrevVersion)" : |lease )[0-9a-f]+/g, '$1#')
    .replace(/("hash":)\d+/g, '$1#')
    .replace(/\d+ [kM]B/g, '<size>')
    .replace(/(\| +\d+ +){3}\|/g, '| TERM | INDEX | APPLIED |')
    .replace(/took = [0-9.µm]+s|"took":"[^"]*"|\d[0-9.]*[µm]s/g, '<took>')
    .replace(/ +\|/g, ' |')
    .replace(/\| +/g, '| ')
    .replace(/^\+[-+]+\+$/gm, '+-+');
}

/** Lines that both programs are given, in this order. A second element is the input. */
const LINES: readonly (readonly [line: string, input?: string])[] = [
  ['put d/a 1'],
  ['put d/a 2 --prev-kv'],
  ['put d/a 3 --prev-kv -w json'],
  ['put d/b 4 --prev-kv -w fields'],
  ['put d/c', 'from input'],
  ['get d/a'],
  ['get --prefix d/ -w json'],
  ['get --prefix d/ -w fields'],
  ['get --prefix d/ --keys-only'],
  ['get --prefix d/ --sort-by VALUE --order DESCEND --print-value-only'],
  ['get d/a --hex'],
  ['get d/a -w table'],
  ['get nothing -w json'],
  ['get d/a --rev 99999999'],
  ['get d/a --order SIDEWAYS'],
  ['get --from-key --prefix d/'],
  ['txn', 'val("d/a") = "3"\n\nput d/x y\nget d/a\n\nget d/b\n\n'],
  ['txn -w json', 'ver("d/none") > "0"\n\nput d/x y\n\ndel d/x\nget d/b\n\n'],
  ['txn', 'foo("d/a") = "3"\n\n\n\n'],
  ['lease grant 100'],
  ['lease revoke 123'],
  ['lease timetolive 123'],
  ['lease timetolive 123 -w json'],
  ['lease keep-alive --once 123'],
  ['member list'],
  ['member list -w json'],
  ['member list -w table'],
  ['member list -w fields'],
  ['member remove 123'],
  ['member add x --peer-urls=foo'],
  ['endpoint status -w json'],
  ['endpoint status -w table'],
  ['endpoint status -w fields'],
  ['endpoint health'],
  ['endpoint health -w table'],
  ['endpoint hashkv -w json'],
  ['alarm list'],
  ['move-leader 123'],
  ['role add r1'],
  ['role add r1'],
  ['role grant-permission r1 readwrite d/ --prefix=true'],
  ['role grant-permission r1 read a b'],
  ['role grant-permission r1 fly a'],
  ['role get r1'],
  ['role get r1 -w json'],
  ['role revoke-permission r1 a b'],
  ['user add u1:pw'],
  ['user grant-role u1 r1'],
  ['user get u1 --detail'],
  ['user list -w json'],
  ['user delete u1'],
  ['role delete r1'],
  ['auth disable'],
  ['compaction 99999999'],
  ['del --prefix d/ --prev-kv'],
  ['del nothing -w json'],
];
/** Undone between the two programs, so that both find the same. */
const UNDO: readonly string[] = ['del --prefix d/', 'user delete u1', 'role delete r1'];

for (const kind of KINDS) {
  const skip = etcdctl === undefined || !canRun(kind);
  describe(`musterctl and etcdctl on ${kind}`, { skip, timeout: 240_000 }, () => {
    let servers: Servers;
    let endpoint: string;
    const on = (program: string, line: string, input?: string) =>
      runProgram(program, [`--endpoints=${endpoint}`, ...line.split(' ')], input);

    before(async () => {
      servers = await startServers(kind);
      endpoint = servers.addresses[0] as string;
    });
    after(() => servers.stop());

    test('print the same', async () => {
      const printed: string[][] = [];
      for (const program of [etcdctl as string, MUSTERCTL]) {
        const own: string[] = [];
        for (const [line, input] of LINES) {
          const { code, out, err } = await on(program, line, input);
          own.push(masked(`$ ${line}\n${out}${err}exit code ${code}\n`));
        }
        for (const line of UNDO) await on(program, line);
        printed.push(own);
      }
      assert.deepEqual(printed[1], printed[0]);
    });

    test('a watch prints the same, history and what comes', async () => {
      const first = await on(MUSTERCTL, 'put w/a 1 -w json');
      const revision = /"revision":(\d+)/.exec(first.out)?.[1];
      const args = [
        `--endpoints=${endpoint}`,
        'watch',
        '--prefix',
        'w/',
        `--rev=${revision}`,
        '-w=json',
        '--prev-kv',
      ];
      const env = { ETCDCTL_API: '3' };
      const watchers = [etcdctl as string, MUSTERCTL].map((program) => new Child(program, args, { env }));
      for (const watcher of watchers)
        await watcher.ready(async () => assert.match(watcher.output, /"Events"/));
      await on(MUSTERCTL, 'txn', '\nput w/a 2\nput w/b 3\n\n\n');
      await on(MUSTERCTL, 'del w/a');
      for (const watcher of watchers) {
        await watcher.ready(async () => assert.equal(watcher.output.trim().split('\n').length, 3));
        await watcher.stop('SIGINT');
      }
      assert.equal(watchers[1]?.output, watchers[0]?.output);
    });

    test('a lock is held by one program at a time, and given back at the end of its command', async () => {
      const holder = new Child(MUSTERCTL, [`--endpoints=${endpoint}`, 'lock', 'l']);
      await holder.ready(async () => assert.match(holder.output, /^l\/[0-9a-f]+\n$/));
      const waiter = on(etcdctl as string, 'lock l -- echo mine');
      await on(MUSTERCTL, 'put l-other 1');
      await holder.stop('SIGINT');
      const { code, out } = await waiter;
      assert.deepEqual([code, out], [0, 'mine\n']);
      const { code: failed, err } = await on(MUSTERCTL, 'lock l -- false');
      assert.deepEqual([failed, err], [1, 'Error: exit status 1\n']);
      assert.equal((await on(MUSTERCTL, 'get --prefix l/')).out, '');
    });

    test('a snapshot is saved whole, and both programs read the same in it', async () => {
      const dir = mkdtempSync(join(tmpdir(), 'musterctl-'));
      try {
        const path = join(dir, 's.db');
        const saved = await on(MUSTERCTL, `snapshot save ${path}`);
        assert.deepEqual(saved, { code: 0, out: `Snapshot saved at ${path}\n`, err: '' });
        assert.deepEqual(readdirSync(dir), ['s.db']);
        assert.equal(readFileSync(path).length % 512, 32);
        for (const format of ['simple', 'json', 'fields', 'table']) {
          const line = ['snapshot', 'status', path, '-w', format];
          const [theirs, ours] = [
            await runProgram(etcdctl as string, line),
            await runProgram(MUSTERCTL, line),
          ];
          assert.deepEqual(ours, theirs);
        }
      } finally {
        rmSync(dir, { recursive: true });
      }
    });

    test('an import copies history and leases, follows, and goes on where it was', async () => {
      const target = await startServers(kind);
      const there = target.addresses[0] as string;
      const at = (line: string) => runProgram(MUSTERCTL, [`--endpoints=${there}`, ...line.split(' ')]);
      try {
        const granted = await on(MUSTERCTL, 'lease grant 300');
        const lease = granted.out.split(' ')[1] as string;
        await on(MUSTERCTL, 'put i/old 1');
        const last = await on(MUSTERCTL, 'put i/changed 1 -w json');
        await on(MUSTERCTL, `compaction ${/"revision":(\d+)/.exec(last.out)?.[1]}`);
        await on(MUSTERCTL, 'put i/changed 2');
        await on(MUSTERCTL, 'txn', '\nput i/x 1\nput i/y 2\n\n\n');
        await on(MUSTERCTL, `put --lease=${lease} i/leased 1`);
        const line = `import --prefix i/ --follow=false ${there}`;
        const imported = await on(MUSTERCTL, line);
        assert.match(
          imported.out,
          /^imported 5 keys and \d+ leases up to revision \d+, verified: sha256 [0-9a-f]{64}\n$/,
        );
        const keys = 'get --prefix i/ --sort-by MODIFY -w fields';
        const shape = (text: string) => masked(text).replace(/"(ClusterID|MemberID|RaftTerm)" : \d+\n/g, '');
        assert.equal(shape((await at(keys)).out), shape((await on(MUSTERCTL, keys)).out));
        const revisions = [...(await at('get --prefix i/ -w json')).out.matchAll(/"mod_revision":(\d+)/g)];
        assert.equal(revisions[3]?.[1], revisions[4]?.[1], 'a transaction of the source is one here too');
        assert.match((await at(`lease timetolive ${lease} --keys`)).out, /attached keys\(\[i\/leased\]\)/);

        const again = await on(MUSTERCTL, line);
        assert.match(again.err, /the destination has 5 keys with prefix "i\/": expected none/);
        await at('del --prefix i/');
        const follower = new Child(MUSTERCTL, [`--endpoints=${endpoint}`, 'import', '--prefix', 'i/', there]);
        await follower.ready(async () => assert.match(follower.output, /verified/));
        await on(MUSTERCTL, 'put i/new 1');
        await follower.ready(async () => assert.equal((await at('get i/new')).out, 'i/new\n1\n'));
        await follower.stop('SIGINT');
        await on(MUSTERCTL, 'put i/newer 1');
        const resumed = await on(MUSTERCTL, line);
        assert.match(resumed.err, /^going on from revision \d+\n$/);
        assert.match(resumed.out, /^imported 7 keys/);
        assert.equal((await at('get i/newer')).out, 'i/newer\n1\n');

        // A source that was never compacted, whose last changes are not among what is copied.
        await at('put back/a 1');
        await at('put elsewhere 1');
        const back = await at(`import --prefix back/ --follow=false ${endpoint}`);
        assert.match(back.out, /^imported 1 keys and 0 leases/, back.err);
      } finally {
        await target.stop();
      }
    });

    test('an import copies roles, and users whose passwords are set anew, when asked to', async () => {
      const target = await startServers(kind);
      const there = target.addresses[0] as string;
      const at = (line: string) => runProgram(MUSTERCTL, [`--endpoints=${there}`, ...line.split(' ')]);
      try {
        for (const line of [
          'role add root',
          'role add reader',
          'role grant-permission reader read q/ --prefix',
          'role grant-permission reader write q/out',
          'user add root:r',
          'user add ann:a',
          'user grant-role root root',
          'user grant-role ann reader',
        ])
          assert.equal((await on(MUSTERCTL, line)).code, 0, line);
        const line = `import --auth --prefix q/ --follow=false ${there}`;
        const imported = await on(MUSTERCTL, line);
        assert.match(imported.err, /^copied 2 roles, and 2 users\npasswords cannot be copied.* ann, root /);
        // Again, it finds them there.
        assert.match((await on(MUSTERCTL, line)).err, /^copied 2 roles, and 0 users\n$/);
        for (const show of ['role get reader', 'user get ann', 'user list'])
          assert.equal((await at(show)).out, (await on(MUSTERCTL, show)).out);
        const passwd = (name: string) =>
          runProgram(
            MUSTERCTL,
            [`--endpoints=${there}`, 'user', 'passwd', name, '--interactive=false'],
            'new\n',
          );
        for (const name of ['root', 'ann']) assert.equal((await passwd(name)).code, 0);
        assert.equal((await at('auth enable')).code, 0);
        assert.equal((await at('--user=ann:new put q/out 1')).out, 'OK\n');
        assert.equal((await at('--user=ann:new put q/in 1')).code, 1);
      } finally {
        await target.stop();
        for (const line of ['user delete ann', 'user delete root', 'role delete reader', 'role delete root'])
          await on(MUSTERCTL, line);
      }
    });
  });

  describe(`musterctl over TLS on ${kind}`, { skip, timeout: 120_000 }, () => {
    test('a certificate opens, none is refused', async () => {
      const servers = await startServers(kind, { tls: true });
      try {
        const { ca, client } = servers.files as NonNullable<Servers['files']>;
        const base = [`--endpoints=${servers.endpoints[0]}`, '--command-timeout=3s', `--cacert=${ca}`];
        const own = [...base, `--cert=${client.cert}`, `--key=${client.key}`];
        assert.equal((await runProgram(MUSTERCTL, [...own, 'put', 'a', 'b'])).out, 'OK\n');
        assert.equal((await runProgram(MUSTERCTL, [...own, 'get', 'a'])).out, 'a\nb\n');
        const { code, err } = await runProgram(MUSTERCTL, [...base, 'get', 'a']);
        assert.equal(code, 1);
        assert.match(err, /^Error: /);
        const half = await runProgram(MUSTERCTL, [...base, `--cert=${client.cert}`, 'get', 'a']);
        assert.equal(half.code, 128);
        assert.match(half.err, /KeyFile and CertFile must both be present/);
      } finally {
        await servers.stop();
      }
    });
  });
}

describe('services', { timeout: 120_000 }, () => {
  test('are listed, shown, drained, and stay drained whatever the owner writes', async () => {
    const servers = await startServers('muster');
    const endpoint = servers.addresses[0] as string;
    const ctl = (...args: string[]) => runProgram(MUSTERCTL, [`--endpoints=${endpoint}`, 'service', ...args]);
    const put = (id: string) =>
      fetch(`${servers.endpoints[0]}/v1/services/orders/instances/${id}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ url: `http://${id}:80/`, ttl: '60s' }),
      });
    try {
      for (const id of ['a', 'b']) assert.ok((await put(id)).ok);
      assert.equal((await ctl('list')).out, 'orders, 2, 2, 0\n');
      assert.match(
        (await ctl('show', 'orders')).out,
        /^a, http:\/\/a:80\/, up, unknown, , , [0-9a-f]{16}\nb, /,
      );
      const watcher = new Child(MUSTERCTL, [`--endpoints=${endpoint}`, 'service', 'watch', 'orders']);
      await watcher.ready(async () => assert.match(watcher.output, /added, a,[^\n]*\nadded, b,/));
      assert.equal((await ctl('drain', 'orders', 'a')).out, 'Instance a of orders is draining\n');
      assert.ok((await put('a')).ok);
      assert.match((await ctl('show', 'orders')).out, /^a, http:\/\/a:80\/, draining \(override\), /);
      await watcher.ready(async () =>
        assert.match(watcher.output, /changed, a, [^\n]*, draining \(override\)/),
      );
      await watcher.stop('SIGINT');
      assert.equal(
        (await ctl('drain', '--undo', 'orders', 'a')).out,
        'Instance a of orders is no longer drained\n',
      );
      assert.match(
        (await ctl('show', 'orders', '-w', 'json')).out,
        /"id":"a","address":"http:\/\/a:80\/","status":"up"/,
      );
      const missing = await ctl('drain', 'orders', 'c');
      assert.deepEqual(
        [missing.code, missing.err],
        [1, 'Error: no instance c of service orders in namespace default\n'],
      );
    } finally {
      await servers.stop();
    }
  });
});
