import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { ManualClock } from '@muster/base';
import { httpChunk } from './framing.ts';
import { Outbox, Outboxes } from './outbox.ts';

const LIMIT_BYTES = 100;

/** A socket whose kernel takes each write when the test says so, or at once. */
class Target extends Writable {
  readonly writes: Buffer[] = [];
  #taken: (() => void)[] = [];
  readonly #slow: boolean;

  constructor(slow = false) {
    super({ highWaterMark: 10 });
    this.#slow = slow;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.writes.push(chunk);
    if (this.#slow) this.#taken.push(done);
    else done();
  }

  /** The kernel takes what it was given; resolves when the stream has said so to everyone. */
  async take(): Promise<void> {
    for (const done of this.#taken.splice(0)) done();
    await new Promise((resolve) => setImmediate(resolve));
  }

  get text(): string {
    return Buffer.concat(this.writes).toString();
  }
}

function outbox(shared: Outboxes, target: Writable, isOpen?: () => boolean): Outbox & { rooms(): number } {
  let rooms = 0;
  const options = { limitBytes: LIMIT_BYTES, onRoom: () => rooms++, ...(isOpen ? { isOpen } : {}) };
  return Object.assign(new Outbox(shared, target, options), { rooms: () => rooms });
}

const [one, two, own] = [Buffer.from('one\n'), Buffer.from('two\n'), Buffer.from('own\n')] as const;

test('sockets with the same pieces in a turn share one write, others get their own', () => {
  const clock = new ManualClock();
  const shared = new Outboxes(clock, httpChunk);
  const targets = [new Target(), new Target(), new Target()] as const;
  const a = outbox(shared, targets[0]);
  const b = outbox(shared, targets[1]);
  const c = outbox(shared, targets[2]);
  for (const box of [a, b]) {
    box.push(one);
    box.push(two);
  }
  c.push(two);
  assert.equal(targets[0].writes.length, 0, 'nothing goes out before the turn is over');
  clock.runDeferred();
  assert.deepEqual(
    targets.map((target) => target.writes.length),
    [1, 1, 1],
  );
  assert.equal(targets[0].writes[0], targets[1].writes[0], 'the same bytes');
  assert.equal(targets[0].text, '8\r\none\ntwo\n\r\n');
  assert.equal(targets[2].text, '4\r\ntwo\n\r\n');
  a.push(one);
  clock.runDeferred();
  assert.equal(targets[0].writes[1]?.toString(), '4\r\none\n\r\n');
  assert.equal(targets[1].writes.length, 1);
});

test('own pieces between shared ones keep their place, whatever the others get', () => {
  const clock = new ManualClock();
  const shared = new Outboxes(clock);
  const targets = [new Target(), new Target(), new Target()] as const;
  const a = outbox(shared, targets[0]);
  const b = outbox(shared, targets[1]);
  const c = outbox(shared, targets[2]);
  a.push(one);
  b.push(one);
  b.push(own);
  c.push(Buffer.from('another\n'));
  for (const box of [a, b, c]) box.push(two);
  a.push(one);
  clock.runDeferred();
  assert.deepEqual(
    targets.map((target) => target.text),
    ['one\ntwo\none\n', 'one\nown\ntwo\n', 'another\ntwo\n'],
  );
});

test('control frames overtake what waits', () => {
  const clock = new ManualClock();
  const target = new Target();
  const box = outbox(new Outboxes(clock), target);
  box.push(one);
  box.pushControl(own);
  box.pushControl(two);
  assert.equal(box.bufferedBytes, 12);
  clock.runDeferred();
  assert.equal(target.text, 'own\ntwo\none\n');
  assert.equal(box.bufferedBytes, 0);
});

test('a slow socket is full alone, and is told once when it has room', async () => {
  const clock = new ManualClock();
  const shared = new Outboxes(clock);
  const targets = { slow: new Target(true), quick: new Target() };
  const [slow, quick] = [outbox(shared, targets.slow), outbox(shared, targets.quick)];
  const piece = Buffer.alloc(LIMIT_BYTES / 4, 'x');
  for (let i = 0; i < 4; i++) {
    assert.ok(slow.hasRoom && quick.hasRoom);
    for (const box of [slow, quick]) box.push(piece);
    clock.runDeferred();
  }
  assert.deepEqual([slow.hasRoom, quick.hasRoom], [false, true]);
  clock.runDeferred();
  assert.equal(slow.hasRoom, false, 'asked twice');
  while (targets.slow.writableLength > 0) {
    assert.equal(slow.rooms(), 0, 'not while something waits');
    await targets.slow.take();
  }
  assert.deepEqual([slow.rooms(), slow.hasRoom, quick.rooms()], [1, true, 0]);
  assert.equal(targets.slow.listenerCount('drain'), 0, 'the socket may serve another stream');
  assert.equal(targets.slow.text, 'x'.repeat(LIMIT_BYTES));
});

test('room comes without a drain when the kernel takes everything at once', () => {
  const clock = new ManualClock();
  const box = outbox(new Outboxes(clock), new Target());
  box.push(Buffer.alloc(LIMIT_BYTES));
  assert.equal(box.hasRoom, false);
  assert.equal(box.rooms(), 0, 'never from inside a push');
  clock.runDeferred();
  return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
    assert.deepEqual([box.rooms(), box.hasRoom], [1, true]);
  });
});

test('nothing is written to what is closed, or has said its last frame, and the others get theirs', () => {
  const clock = new ManualClock();
  const shared = new Outboxes(clock);
  const targets = [new Target(), new Target(), new Target(), new Target()] as const;
  let open = true;
  const boxes = targets.map((target, i) => outbox(shared, target, i === 2 ? () => open : undefined));
  for (const box of boxes) {
    box.push(one);
    box.pushControl(own);
  }
  targets[0].destroy();
  targets[1].end();
  open = false;
  clock.runDeferred();
  assert.deepEqual(
    targets.map((target) => target.text),
    ['', '', '', 'own\none\n'],
  );
  assert.equal(boxes[2]?.bufferedBytes, 0);
});

test('a flush that took long is followed by a pause, a short one by none', () => {
  let writeMs = 0;
  let spentMs = 0;
  class Busy extends Target {
    override _write(chunk: Buffer, encoding: string, done: () => void): void {
      spentMs += writeMs;
      super._write(chunk, encoding, done);
    }
  }
  class BusyClock extends ManualClock {
    override nowMs(): number {
      return super.nowMs() + spentMs;
    }
  }
  const clock = new BusyClock();
  const target = new Busy();
  const box = outbox(new Outboxes(clock), target);
  const writesAfter = (ms: number): number => {
    clock.advance(ms);
    return target.writes.length;
  };
  box.push(one);
  assert.equal(writesAfter(0), 1);
  box.push(one);
  assert.equal(writesAfter(0), 2, 'no pause after a write that took no time');
  writeMs = 3;
  box.push(one);
  assert.equal(writesAfter(0), 3);
  box.push(one);
  box.push(two);
  assert.equal(writesAfter(2), 3, 'as long as the write took');
  writeMs = 60;
  assert.equal(writesAfter(1), 4);
  assert.equal(target.writes[3]?.toString(), 'one\ntwo\n');
  box.push(one);
  assert.equal(writesAfter(4), 4);
  assert.equal(writesAfter(1), 5, 'but not longer than 5 ms');
  clock.advance(100);
  box.push(one);
  assert.equal(writesAfter(0), 6, 'no pause after silence');
});
