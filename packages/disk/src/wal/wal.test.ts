import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@muster/base';
import type { Wal, WalBatch, WalContents, WalError } from '@muster/member';
import type { Entry, HardState } from '@muster/raft';
import { MemoryFs } from '../testing/memory-fs.ts';
import { openWal } from './open.ts';
import { WalDamaged } from './reader.ts';

const DIRECTORY = 'wal';
const SEGMENT_BYTES = 8192;

const open = (fs: MemoryFs): Promise<{ wal: Wal; contents: WalContents }> =>
  openWal(DIRECTORY, { fs, segmentBytes: SEGMENT_BYTES });
const append = (wal: Wal, batch: WalBatch, sync = true): Promise<WalError | undefined> =>
  new Promise((resolve) => wal.append(batch, sync, resolve));
const reset = (wal: Wal, index: number, term: number, state: HardState): Promise<WalError | undefined> =>
  new Promise((resolve) => wal.reset(index, term, state, resolve));
const close = (wal: Wal): Promise<void> => new Promise((resolve) => wal.close(resolve));
const entry = (index: number, term: number, bytes = 20, fill = index): Entry => ({
  index,
  term,
  type: index % 7 === 0 ? 'config' : 'normal',
  data: new Uint8Array(bytes).fill(fill & 255),
});
const state = (term: number, commit: number): HardState => ({ term, vote: 2n ** 63n + 5n, commit });
const names = (fs: MemoryFs): string[] => [...fs.files.keys()].filter((n) => n.endsWith('.wal')).sort();
const fileOf = (fs: MemoryFs, name: string): { path: string; bytes: Buffer } =>
  fs.files.get(name) as { path: string; bytes: Buffer };

test('a fresh log is empty, and what is appended is there after opening again', async () => {
  const fs = new MemoryFs();
  const { wal, contents } = await open(fs);
  assert.deepEqual(contents, { hardState: undefined, entries: [], compactedIndex: 0, compactedTerm: 0 });
  assert.equal(await append(wal, { hardState: state(1, 0), entries: [entry(1, 1), entry(2, 1)] }), undefined);
  assert.equal(await append(wal, { entries: [entry(3, 1, 0)] }), undefined);
  await close(wal);
  const again = await open(fs);
  assert.deepEqual(again.contents.entries, [entry(1, 1), entry(2, 1), entry(3, 1, 0)]);
  assert.deepEqual(again.contents.hardState, state(1, 0));
  await close(again.wal);
});

test('appends that come while a write runs share the next one and complete in order', async () => {
  const fs = new MemoryFs();
  const { wal } = await open(fs);
  const before = fs.writes;
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      append(wal, { entries: [entry(i + 1, 1)] }).then(() => order.push(i)),
    ),
  );
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  );
  assert.equal(fs.writes - before, 2);
  await close(wal);
});

test('a commit index without sync completes without a write and goes out with the next', async () => {
  const fs = new MemoryFs();
  const { wal } = await open(fs);
  await append(wal, { hardState: state(1, 0), entries: [entry(1, 1)] });
  const before = fs.writes;
  assert.equal(await append(wal, { hardState: state(1, 1), entries: [] }, false), undefined);
  assert.equal(fs.writes, before);
  await append(wal, { entries: [entry(2, 1)] });
  await close(wal);
  assert.deepEqual((await open(fs)).contents.hardState, state(1, 1));
});

test('segments roll, release removes whole ones behind the released index, restart finds the rest', async () => {
  const fs = new MemoryFs();
  const { wal } = await open(fs);
  for (let i = 1; i <= 200; i++)
    await append(wal, { hardState: state(3, i - 1), entries: [entry(i, 3, 200)] });
  const all = names(fs);
  assert.ok(all.length >= 6, String(all));
  wal.release(150, 3);
  await append(wal, { entries: [entry(201, 3)] });
  await close(wal);
  const left = names(fs);
  assert.ok(left.length < all.length - 3 && left.every((n) => all.includes(n) || n > (all.at(-1) as string)));
  const { contents, wal: again } = await open(fs);
  assert.equal(contents.compactedIndex, 150);
  assert.equal(contents.compactedTerm, 3);
  assert.deepEqual(
    contents.entries.map((e) => e.index),
    Array.from({ length: 51 }, (_, i) => 151 + i),
  );
  assert.deepEqual(contents.hardState, state(3, 199));
  await close(again);
});

test('a batch larger than a segment gets a segment of its own size', async () => {
  const fs = new MemoryFs();
  const { wal } = await open(fs);
  await append(wal, { entries: [entry(1, 1, 5 * SEGMENT_BYTES)] });
  await append(wal, { entries: [entry(2, 1)] });
  await close(wal);
  const { contents } = await open(fs);
  assert.deepEqual(contents.entries, [entry(1, 1, 5 * SEGMENT_BYTES), entry(2, 1)]);
});

test('reset starts over; a crash at any operation of it finds the old log or the new one', async () => {
  for (let crashAt = 0; ; crashAt++) {
    const fs = new MemoryFs();
    const { wal } = await open(fs);
    for (let i = 1; i <= 60; i++) await append(wal, { hardState: state(2, 0), entries: [entry(i, 2, 200)] });
    let operations = 0;
    let frozen: MemoryFs | undefined;
    const count = (): undefined => {
      if (operations++ === crashAt) frozen = fs.copy();
      return undefined;
    };
    fs.onOperation = count;
    fs.onWrite = count;
    assert.equal(await reset(wal, 500, 9, state(9, 500)), undefined);
    await append(wal, { entries: [entry(501, 9)] });
    await close(wal);
    const { contents } = await open(frozen ?? fs);
    if (contents.compactedIndex === 0) assert.equal(contents.entries.length, 60);
    else {
      assert.equal(contents.compactedIndex, 500);
      assert.equal(contents.compactedTerm, 9);
      assert.deepEqual(contents.hardState, state(9, 500));
      assert.ok(contents.entries.length <= 1);
    }
    if (!frozen) {
      assert.deepEqual(contents.entries, [entry(501, 9)]);
      assert.ok(crashAt > 5, `only ${crashAt} operations seen`);
      return;
    }
  }
});

test('a full disk fails the batches at hand as retryable, keeps nothing of them and goes on later', async () => {
  const fs = new MemoryFs();
  const { wal } = await open(fs);
  await append(wal, { hardState: state(1, 0), entries: [entry(1, 1)] });
  for (const written of [0, 30, 90]) {
    fs.onWrite = () => ({ code: 'ENOSPC', written });
    const failed = await Promise.all([
      append(wal, { entries: [entry(2, 1), entry(3, 1)] }),
      append(wal, { entries: [entry(4, 1)] }),
    ]);
    for (const error of failed) assert.equal(error?.retryable, true);
    fs.onWrite = undefined;
    const after = await open(fs.copy());
    assert.equal(after.contents.entries[0]?.index, 1);
    await close(after.wal);
  }
  assert.equal(await append(wal, { entries: [entry(2, 1, 20, 99)] }), undefined);
  await close(wal);
  assert.deepEqual((await open(fs)).contents.entries, [entry(1, 1), entry(2, 1, 20, 99)]);
});

test('a full disk while a segment is made fails the batch, leaves no file, and the next try makes it', async () => {
  const fs = new MemoryFs();
  const { wal } = await open(fs);
  let full = false;
  fs.onWrite = (path) => (full && path.endsWith('.spare') ? { code: 'ENOSPC', written: 10 } : undefined);
  full = true;
  let index = 0;
  let error: WalError | undefined;
  while (!error) error = await append(wal, { entries: [entry(++index, 1, 500)] });
  assert.equal(error.retryable, true);
  assert.equal(names(fs).length, 1);
  full = false;
  assert.equal(await append(wal, { entries: [entry(index, 1, 500)] }), undefined);
  assert.equal(names(fs).length, 2);
  await close(wal);
  assert.equal((await open(fs)).contents.entries.length, index);
});

test('any other failure is final', async () => {
  const fs = new MemoryFs();
  const { wal } = await open(fs);
  fs.onWrite = () => ({ code: 'EIO' });
  const first = await append(wal, { entries: [entry(1, 1)] });
  assert.equal(first?.retryable, false);
  fs.onWrite = undefined;
  assert.equal((await append(wal, { entries: [entry(1, 1)] }))?.retryable, false);
  await close(wal);
});

test('a missing segment is refused, one left over from an interrupted removal is not', async () => {
  const fs = new MemoryFs();
  const { wal } = await open(fs);
  for (let i = 1; i <= 200; i++) await append(wal, { hardState: state(1, 0), entries: [entry(i, 1, 200)] });
  const whole = fs.copy();
  const missing = fs.copy();
  missing.files.delete(names(missing)[2] as string);
  await assert.rejects(
    open(missing),
    (e: Error) => e instanceof WalDamaged && /segment file is missing/.test(e.message),
  );
  wal.release(199, 1);
  await append(wal, { entries: [entry(201, 1)] });
  await close(wal);
  const oldest = names(whole)[0] as string;
  assert.ok(!fs.files.has(oldest));
  fs.files.set(oldest, fileOf(whole, oldest));
  assert.deepEqual(
    (await open(fs)).contents.entries.map((e) => e.index),
    [200, 201],
  );
  assert.ok(!fs.files.has(oldest), 'the leftover is removed');
});

test('damage says file, offset, what was found and what to do', async () => {
  const fs = new MemoryFs();
  const { wal } = await open(fs);
  for (let i = 1; i <= 10; i++) await append(wal, { entries: [entry(i, 1)] });
  await close(wal);
  const name = names(fs)[0] as string;
  const bytes = fileOf(fs, name).bytes;
  bytes[300] = (bytes[300] as number) ^ 1;
  await assert.rejects(
    open(fs),
    /wal\/0000000001-0000000000000001\.wal: damaged at offset \d+: .*checksum.*remove this member/s,
  );
});

type Model = { entries: Entry[]; compacted: number; hardState: HardState | undefined };

/** Appends at random; returns the model after each acknowledged step. */
async function randomLog(fs: MemoryFs, prng: Prng, steps: number): Promise<Model[]> {
  const { wal } = await open(fs);
  const model: Model = { entries: [], compacted: 0, hardState: undefined };
  const history: Model[] = [{ ...model, entries: [] }];
  let term = 1;
  for (let step = 0; step < steps; step++) {
    const last = model.entries.at(-1)?.index ?? model.compacted;
    const lowest = model.compacted + 1;
    let first = last + 1;
    if (prng.chance(0.2) && last >= lowest) {
      term++;
      first = prng.int(lowest, last);
    }
    const count = prng.int(prng.chance(0.1) ? 0 : 1, 4);
    const entries = Array.from({ length: count }, (_, i) =>
      entry(first + i, term, prng.int(0, 400), prng.int(0, 255)),
    );
    const hardState = count === 0 || prng.chance(0.5) ? state(term, model.compacted) : undefined;
    assert.equal(await append(wal, { entries, ...(hardState && { hardState }) }), undefined);
    if (count > 0) model.entries = [...model.entries.filter((e) => e.index < first), ...entries];
    if (hardState) model.hardState = hardState;
    history.push({ ...model });
    const newest = model.entries.at(-1);
    if (prng.chance(0.05) && newest && newest.index > lowest + 3) {
      const at = prng.int(lowest, newest.index - 2);
      wal.release(at, (model.entries.find((e) => e.index === at) as Entry).term);
      model.entries = model.entries.filter((e) => e.index > at);
      model.compacted = at;
    }
  }
  await close(wal);
  return history;
}

const same = (contents: WalContents, model: Model): boolean => {
  const low = Math.max(contents.compactedIndex, model.compacted);
  const strip = (entries: readonly Entry[]): string =>
    entries
      .filter((e) => e.index > low)
      .map((e) => `${e.index}.${e.term}.${e.type}.${Buffer.from(e.data).toString('base64')}`)
      .join();
  return (
    strip(contents.entries) === strip(model.entries) && contents.hardState?.term === model.hardState?.term
  );
};

test('random appends, overwrites and releases: the log opened again equals a plain list', async () => {
  for (let seed = 0; seed < 15; seed++) {
    const fs = new MemoryFs();
    const history = await randomLog(fs, new Prng(seed), 150);
    const { contents, wal } = await open(fs);
    assert.ok(same(contents, history.at(-1) as Model), `seed ${seed}`);
    await close(wal);
  }
});

test('flip any byte, or cut the file anywhere: refused, or only what the last write held is gone', async () => {
  const outcomes = { refused: 0, whole: 0, torn: 0 };
  for (let seed = 100; seed < 106; seed++) {
    const prng = new Prng(seed);
    const fs = new MemoryFs();
    const history = await randomLog(fs, prng, 40);
    for (let round = 0; round < 150; round++) {
      const hurt = fs.copy();
      const file = fileOf(hurt, prng.chance(0.6) ? (names(hurt).at(-1) as string) : prng.pick(names(hurt)));
      const at = prng.int(0, file.bytes.length - 1);
      if (prng.chance(0.2)) file.bytes = file.bytes.subarray(0, at);
      else file.bytes[at] = (file.bytes[at] as number) ^ (1 << prng.int(0, 7));
      try {
        const { contents, wal } = await open(hurt);
        const whole = same(contents, history.at(-1) as Model);
        // The last write's records are kept as far as they are whole.
        assert.ok(whole || withoutLastWrite(contents, history), `seed ${seed} round ${round} byte ${at}`);
        outcomes[whole ? 'whole' : 'torn']++;
        await close(wal);
      } catch (error) {
        if (!(error instanceof WalDamaged)) throw error;
        outcomes.refused++;
      }
    }
  }
  assert.ok(outcomes.refused > 100 && outcomes.torn > 5 && outcomes.whole > 20, JSON.stringify(outcomes));
});

/** The state before the last step, perhaps with some of the last step's first records. */
function withoutLastWrite(contents: WalContents, history: readonly Model[]): boolean {
  const [before, after] = history.slice(-2) as [Model, Model];
  if (same(contents, before) || same({ ...contents, hardState: before.hardState }, before)) return true;
  const added = after.entries.filter((e) => !before.entries.includes(e));
  for (let n = 1; n <= added.length; n++) {
    const first = (added[0] as Entry).index;
    const entries = [...before.entries.filter((e) => e.index < first), ...added.slice(0, n)];
    if (same({ ...contents, hardState: undefined }, { ...before, entries, hardState: undefined }))
      return true;
  }
  return false;
}

test('a write torn at any byte is cut, and the log goes on from there', async () => {
  const prng = new Prng(7);
  const fs = new MemoryFs();
  const { wal } = await open(fs);
  await append(wal, { hardState: state(1, 0), entries: [entry(1, 1)] });
  for (let torn = 0; torn < 260; torn += 7) {
    const crash = fs.copy();
    const first = await open(crash);
    crash.onWrite = () => ({ code: 'EIO', written: torn });
    await append(first.wal, { entries: [entry(2, 1, 50), entry(3, 1, 50), entry(4, 1, prng.int(0, 60))] });
    crash.onWrite = undefined;
    const second = await open(crash);
    const kept = second.contents.entries.length;
    assert.ok(kept >= 1 && kept <= 4);
    assert.equal(await append(second.wal, { entries: [entry(kept + 1, 2)] }), undefined);
    await close(second.wal);
    const third = await open(crash);
    assert.deepEqual(third.contents.entries.at(-1), entry(kept + 1, 2));
    assert.equal(third.contents.entries.length, kept + 1);
    await close(third.wal);
  }
  await close(wal);
});
