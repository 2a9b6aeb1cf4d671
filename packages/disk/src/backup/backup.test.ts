import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { type TestContext, test } from 'node:test';
import { Prng, utf8, utf8Text } from '@muster/base';
import { type Command, type EngineView, etcdBuckets, StateMachine } from '@muster/kv';
import { encodeRaftMeta, RAFT_META_KEY } from '@muster/member';
import { called, type Fs, type FsFile } from '../fs.ts';
import {
  Backups,
  type LmdbEngine,
  openBackups,
  openDataDir,
  openEngine,
  openWal,
  restoreSnapshot,
  snapshotStatus,
  verifySnapshot,
} from '../index.ts';
import { nodeFs } from '../node-fs.ts';

type Site = { readonly root: string; readonly engine: LmdbEngine; readonly machine: StateMachine };

const NO_MEMBERS = {
  index: 0,
  term: 0,
  voters: [],
  learners: [],
  clusterVersion: '3.6.0',
  storageVersion: '3.6.0',
};

function site(t: TestContext): Site {
  const root = mkdtempSync(`${tmpdir()}/muster-backup-`);
  mkdirSync(`${root}/snap`);
  const engine = openEngine(`${root}/kv`, { flushDelayMs: 1 });
  t.after(async () => {
    await engine.close();
    rmSync(root, { recursive: true });
  });
  return { root, engine, machine: new StateMachine(engine, { minLeaseTtlSeconds: 2 }) };
}

let index = 0;
function seal({ engine, machine }: Site): void {
  const confState = {
    voters: [1n, 2n],
    votersOutgoing: [],
    learners: [3n],
    learnersNext: [],
    autoLeave: false,
  };
  engine.put('meta', RAFT_META_KEY, encodeRaftMeta({ index: ++index, term: 3, confState }));
  machine.flushMeta();
  engine.commit(index);
}

function apply(to: Site, ...commands: readonly Command[]): void {
  for (const command of commands) {
    const outcome = to.machine.apply(command);
    assert.ok('result' in outcome, `${command.type}: ${'error' in outcome && outcome.error.message}`);
  }
  seal(to);
}

const put = (key: string, value: string | Uint8Array, lease = 0n): Command => ({
  type: 'put',
  put: { key: utf8(key), value: typeof value === 'string' ? utf8(value) : value, lease },
});
const del = (key: string): Command => ({ type: 'deleteRange', deleteRange: { key: utf8(key) } });

/** Everything that a store can hold, and a history with compactions done and under way. */
function populate(to: Site, prng: Prng): void {
  apply(
    to,
    { type: 'leaseGrant', id: 77n, ttlSeconds: 100 },
    { type: 'leaseGrant', id: -5n, ttlSeconds: 3600 },
    { type: 'leaseCheckpoint', checkpoints: [{ id: -5n, remainingTtlSeconds: 1800 }] },
  );
  const key = () => `k${prng.int(0, 40)}${prng.chance(0.05) ? 'x'.repeat(prng.int(1900, 5000)) : ''}`;
  for (let i = 0; i < 600; i++) {
    const value = new Uint8Array(prng.chance(0.03) ? prng.int(4000, 30_000) : prng.int(0, 200)).fill(i);
    if (prng.chance(0.2)) apply(to, del(key()));
    else apply(to, put(key(), value, prng.chance(0.2) ? prng.pick([77n, -5n]) : 0n));
    if (i === 250) {
      apply(to, { type: 'compact', revision: to.machine.currentRevision - 20, physical: false });
      while (!to.machine.compactStep());
      seal(to);
    }
  }
  apply(
    to,
    { type: 'compact', revision: to.machine.currentRevision - 50, physical: false },
    { type: 'roleAdd', name: 'reader' },
    {
      type: 'roleGrantPermission',
      name: 'reader',
      permission: { type: 'readwrite', key: utf8('a'), rangeEnd: new Uint8Array([0]) },
    },
    { type: 'roleGrantPermission', name: 'reader', permission: { type: 'read', key: utf8('z') } },
    { type: 'userAdd', name: 'zoë', hashedPassword: '$2b$10$abc', noPassword: false },
    { type: 'userGrantRole', user: 'zoë', role: 'reader' },
    { type: 'userAdd', name: 'by certificate', hashedPassword: '', noPassword: true },
    { type: 'alarm', action: 'activate', memberId: 9n, alarm: 'nospace' },
  );
  to.machine.setMember({
    id: 1n,
    name: 'a<b',
    peerUrls: ['http://a:2380'],
    clientUrls: ['http://a'],
    isLearner: false,
  });
  to.machine.removeMember(4n);
  seal(to);
}

const backups = (on: Site): Backups =>
  new Backups({
    engine: on.engine,
    directory: `${on.root}/snap`,
    clusterVersion: '3.6.0',
    storageVersion: '3.6.0',
  });

async function save(on: Site, name = 'snapshot.db'): Promise<string> {
  const path = `${on.root}/${name}`;
  writeFileSync(path, '');
  let expected: number | undefined;
  for await (const { blob, remainingBytes, version } of backups(on).snapshot()) {
    assert.equal(version, '3.6.0');
    assert.ok(blob.length <= 32 * 1024);
    if (expected === undefined) expected = blob.length + remainingBytes;
    if (remainingBytes > 0) expected -= blob.length;
    if (remainingBytes > 0) assert.equal(remainingBytes, expected);
    appendFileSync(path, blob);
  }
  return path;
}

const restoreOptions = (on: Site, snapshot: string) => ({
  snapshot,
  name: 'new',
  initialCluster: new Map([['new', ['http://127.0.0.1:2380']]]),
  initialClusterToken: 'etcd-cluster',
  initialAdvertisePeerUrls: ['http://127.0.0.1:2380'],
  dataDir: `${on.root}/restored`,
});

async function opened<T>(
  dataDir: string,
  run: (engine: LmdbEngine, machine: StateMachine) => Promise<T> | T,
) {
  const directory = await openDataDir(dataDir);
  const engine = openEngine(directory.kvPath);
  try {
    return await run(engine, new StateMachine(engine, { minLeaseTtlSeconds: 2 }));
  } finally {
    await engine.close();
    await directory.close();
  }
}

/** The content that a restore keeps, as text. */
async function kept(engine: LmdbEngine): Promise<unknown> {
  const view = await called<EngineView>((done) => engine.view(done));
  const out = etcdBuckets(view, NO_MEMBERS)
    .filter(({ name }) => ['alarm', 'auth', 'authRoles', 'authUsers', 'key', 'lease'].includes(name))
    .map(({ name, entries }) => [
      name,
      [...entries].map(([key, value]) => [
        Buffer.from(key).toString('hex'),
        Buffer.from(value).toString('hex'),
      ]),
    ]);
  view.close();
  return out;
}

test('what a snapshot holds is restored: history, leases and their keys, alarms, revisions, compaction', async (t) => {
  const from = site(t);
  const prng = new Prng(11);
  populate(from, prng);
  const snapshot = await save(from);
  verifySnapshot(snapshot);
  const { machine } = from;
  const status = snapshotStatus(snapshot);
  assert.equal(status.revision, machine.currentRevision);
  assert.equal(status.version, '3.6.0');
  assert.equal(status.totalSize + 32, readFileSync(snapshot).length);
  const restored = await restoreSnapshot(restoreOptions(from, snapshot));
  assert.equal(restored.revision, machine.currentRevision);
  await opened(`${from.root}/restored`, async (engine, again) => {
    assert.deepEqual(await kept(engine), await kept(from.engine));
    for (let revision = machine.compactRevision; revision <= machine.currentRevision; revision++) {
      assert.deepEqual(again.hashKv(revision), machine.hashKv(revision), `revision ${revision}`);
    }
    const all = { key: new Uint8Array([0]), rangeEnd: new Uint8Array([0]) };
    for (const revision of [0, machine.compactRevision, machine.currentRevision - 7]) {
      assert.deepEqual(again.range({ ...all, revision }), machine.range({ ...all, revision }));
    }
    assert.deepEqual(
      again.eventsBetween(machine.compactRevision, machine.currentRevision, {} as never),
      machine.eventsBetween(machine.compactRevision, machine.currentRevision, {} as never),
    );
    for (const id of [77n, -5n]) {
      assert.deepEqual(again.leases.get(id), machine.leases.get(id));
      assert.deepEqual(again.leases.keysOf(id), machine.leases.keysOf(id));
    }
    assert.deepEqual(again.alarms(), machine.alarms());
    assert.deepEqual(again.members(), restored.members);
    // The compaction that was under way ends in the same state.
    while (!again.compactStep());
    while (!machine.compactStep());
    again.flushMeta();
    engine.commit(engine.flushedTag);
    seal(from);
    assert.deepEqual(await kept(engine), await kept(from.engine));
  });
});

test('equal states make equal files, and nothing is left of one that was abandoned', async (t) => {
  const from = site(t);
  populate(from, new Prng(12));
  const one = readFileSync(await save(from, 'one.db'));
  assert.ok(one.equals(readFileSync(await save(from, 'two.db'))));
  const source = backups(from);
  for await (const chunk of source.snapshot()) {
    assert.equal(readdirSync(`${from.root}/snap`).length, 1);
    assert.equal(chunk.blob.length, 32 * 1024);
    break;
  }
  assert.deepEqual(readdirSync(`${from.root}/snap`), []);
  const stop = new AbortController();
  stop.abort();
  await assert.rejects(
    async () => {
      for await (const _ of source.snapshot(stop.signal));
    },
    { code: 'CANCELED' },
  );
  assert.deepEqual(readdirSync(`${from.root}/snap`), []);
  const [a, b] = [source.snapshot(), source.snapshot()];
  await Promise.all([a.next(), b.next()]);
  await assert.rejects(source.snapshot().next(), { code: 'TOO_MANY_REQUESTS' });
  await Promise.all([a.return(), b.return()]);
  writeFileSync(`${from.root}/snap/7.backup.part`, 'left behind');
  await openBackups({
    engine: from.engine,
    directory: `${from.root}/snap`,
    clusterVersion: '3.6.0',
    storageVersion: '3.6.0',
  });
  assert.deepEqual(readdirSync(`${from.root}/snap`), []);
});

test('a snapshot is of one revision although writes and a compaction go on', async (t) => {
  const from = site(t);
  populate(from, new Prng(13));
  apply(from, { type: 'alarm', action: 'deactivate', memberId: 9n, alarm: 'nospace' });
  for (let i = 0; i < 3000; i++) apply(from, put(`more${i}`, new Uint8Array(100)));
  await called((done) => from.engine.flush(done));
  const at = from.machine.currentRevision;
  const expected = await kept(from.engine);
  const saving = save(from);
  let during = 0;
  const writing = (async () => {
    while (during < 200) {
      apply(from, put(`during${during++}`, 'x'), del(`more${during}`));
      if (during === 50)
        apply(from, { type: 'compact', revision: from.machine.currentRevision, physical: true });
      from.machine.compactStep();
      seal(from);
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  const snapshot = await saving;
  await writing;
  const { revision } = await restoreSnapshot(restoreOptions(from, snapshot));
  // Made from the moment it was asked for, or a little later.
  assert.ok(revision >= at && revision < from.machine.currentRevision);
  if (revision === at)
    await opened(`${from.root}/restored`, async (e) => assert.deepEqual(await kept(e), expected));
});

test('a member starts from a restored directory: its log begins behind the snapshot', async (t) => {
  const from = site(t);
  apply(from, put('a', '1'));
  const options = {
    ...restoreOptions(from, await save(from)),
    initialCluster: new Map([
      ['new', ['http://127.0.0.1:2380']],
      ['other', ['http://127.0.0.1:2390']],
    ]),
  };
  const { memberId, clusterId } = await restoreSnapshot(options);
  const directory = await openDataDir(options.dataDir);
  assert.deepEqual(directory.identity, { memberId, clusterId, name: 'new' });
  const { wal, contents } = await openWal(directory.walPath, { mustExist: true });
  assert.deepEqual([contents.compactedIndex, contents.compactedTerm, contents.entries], [2, 1, []]);
  await new Promise<void>((resolve) => wal.close(resolve));
  await directory.close();
  await assert.rejects(restoreSnapshot(options), {
    name: 'SnapshotRefused',
    message: `data-dir "${options.dataDir}" not empty or could not be read`,
  });
});

test("a file that is not whole is refused by name, in etcd's words, and leaves nothing behind", async (t) => {
  const from = site(t);
  populate(from, new Prng(14));
  const path = await save(from);
  const whole = readFileSync(path);
  const options = restoreOptions(from, path);
  const refused = async (bytes: Buffer, message: RegExp, more = {}) => {
    writeFileSync(path, bytes);
    await assert.rejects(restoreSnapshot({ ...options, ...more }), message);
    assert.ok(!existsSync(options.dataDir));
  };
  const altered = Buffer.from(whole);
  altered.write('XXXX', 9000);
  await refused(altered, /^SnapshotRefused: expected sha256 \[[\d ]+\], got \[[\d ]+\]$/);
  await refused(
    whole.subarray(0, -32),
    /^SnapshotRefused: snapshot missing hash but --skip-hash-check=false$/,
  );
  await refused(whole.subarray(0, 10_000), /^SnapshotRefused: snapshot missing hash/);
  await refused(whole.subarray(0, 4096 * 3), new RegExp(`${path}: the database says .* cut short`), {
    skipHashCheck: true,
  });
  await refused(Buffer.alloc(8192), new RegExp(`${path}: neither meta page`), { skipHashCheck: true });
  await refused(Buffer.alloc(0), /snapshot missing hash/);
  writeFileSync(path, whole);
  await assert.rejects(restoreSnapshot({ ...options, name: 'nobody' }), {
    message: 'couldn\'t find local name "nobody" in the initial cluster configuration',
  });
  // A restore that was killed.
  mkdirSync(options.dataDir);
  writeFileSync(`${options.dataDir}/RESTORING`, '');
  await assert.rejects(openDataDir(options.dataDir), /cut short: remove the directory and restore it again/);
});

test('a bumped revision is that of the store, and stays so through another snapshot', async (t) => {
  const from = site(t);
  apply(from, put('a', '1'), put('a', '2'), put('b', '1'));
  const snapshot = await save(from);
  for (const markCompacted of [false, true]) {
    const options = { ...restoreOptions(from, snapshot), bumpRevision: 1000, markCompacted };
    assert.equal((await restoreSnapshot(options)).revision, 1004);
    const again = await opened(options.dataDir, async (engine, machine) => {
      assert.equal(machine.currentRevision, 1004);
      assert.equal(machine.compactRevision, markCompacted ? 1004 : -1);
      while (!machine.compactStep());
      machine.flushMeta();
      engine.commit(engine.flushedTag);
      mkdirSync(`${options.dataDir}/snap`, { recursive: true });
      return readFileSync(await save({ root: options.dataDir, engine, machine }));
    });
    rmSync(options.dataDir, { recursive: true });
    const path = `${from.root}/again.db`;
    writeFileSync(path, again);
    assert.equal((await restoreSnapshot({ ...options, snapshot: path, bumpRevision: 0 })).revision, 1004);
    await opened(options.dataDir, (_, machine) => {
      const { kvs } = machine.range({ key: utf8('a') });
      assert.equal(utf8Text(kvs[0]?.value as Uint8Array), '2');
    });
    rmSync(options.dataDir, { recursive: true });
  }
});

/** `nodeFs` that hands each call to `before` first; one for which that gives an error fails with it. */
function watchedFs(before: (call: string, path: string) => Error | undefined): Fs {
  return new Proxy(nodeFs, {
    get(target, property) {
      const method = (target as unknown as Record<PropertyKey, unknown>)[property] as (
        ...a: unknown[]
      ) => void;
      return (...args: unknown[]) => {
        const error = before(String(property), String(args[0]));
        const done = args.at(-1) as (error?: Error, value?: FsFile) => void;
        if (error) setImmediate(() => done(error));
        else if (property !== 'open') method.apply(target, args);
        else {
          const opened = (failed: Error | undefined, file: FsFile | undefined) =>
            done(failed, file && watchedFile(file, (call) => before(call, String(args[0]))));
          method.apply(target, [...args.slice(0, -1), opened]);
        }
      };
    },
  });
}

function watchedFile(file: FsFile, before: (call: string) => Error | undefined): FsFile {
  return new Proxy(file, {
    get(target, property) {
      const method = (target as unknown as Record<PropertyKey, unknown>)[property] as (
        ...a: unknown[]
      ) => void;
      // A promise asks what it is resolved with whether it is one itself.
      if (typeof method !== 'function') return method;
      return (...args: unknown[]) => {
        const error = before(String(property));
        const done = args.at(-1) as (error?: Error) => void;
        if (!error) return method.apply(target, args);
        // Also what cannot be closed is closed.
        if (property === 'close') method.apply(target, [() => done(error)]);
        else setImmediate(() => done(error));
      };
    },
  });
}

test('a backup that fails at any call, for want of room or otherwise, takes nothing from the next one', async (t) => {
  const from = site(t);
  populate(from, new Prng(15));
  for (const call of ['open', 'write', 'read', 'close', 'remove']) {
    let armed = true;
    const fs = watchedFs((each) =>
      armed && each === call ? Object.assign(new Error('no space left'), { code: 'ENOSPC' }) : undefined,
    );
    const { engine } = from;
    const directory = `${from.root}/snap`;
    const source = new Backups({ engine, directory, clusterVersion: '3.6.0', storageVersion: '3.6.0', fs });
    const take = async () => {
      for await (const _ of source.snapshot());
    };
    const isTidying = call === 'close' || call === 'remove';
    for (let i = 0; i < 3; i++) await (isTidying ? take() : assert.rejects(take(), /no space left/));
    armed = false;
    await take();
    await openBackups({ engine, directory, clusterVersion: '3.6.0', storageVersion: '3.6.0' });
    assert.deepEqual(readdirSync(directory), [], call);
  }
});

test('a directory is marked, durably, before a snapshot is restored into it, and until all of it is durable', async (t) => {
  const from = site(t);
  populate(from, new Prng(16));
  const snapshot = await save(from);
  const calls: string[] = [];
  const fs = watchedFs((call, path) => {
    calls.push(`${call} ${path.slice(from.root.length)}`);
    return undefined;
  });
  await restoreSnapshot({ ...restoreOptions(from, snapshot), fs });
  const marked = calls.indexOf('syncDirectory /restored');
  assert.deepEqual(calls.slice(0, marked + 2), [
    'open /restored/RESTORING.tmp',
    'write /restored/RESTORING.tmp',
    'sync /restored/RESTORING.tmp',
    'close /restored/RESTORING.tmp',
    'rename /restored/RESTORING.tmp',
    'syncDirectory /restored',
    'syncDirectory ',
  ]);
  assert.deepEqual(calls.slice(-2), ['remove /restored/RESTORING', 'syncDirectory /restored']);
});
