import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@muster/base';
import { type BatchedStream, LineBatch, type LineNode } from './line-batch.ts';

class Stream implements BatchedStream {
  pending: LineNode | undefined;
  readonly flushed: LineNode[] = [];
  flush(lines: LineNode): void {
    this.flushed.push(lines);
  }
}

test('streams with the same lines in a turn share one chunk, others get their own', () => {
  const clock = new ManualClock();
  const batch = new LineBatch(clock);
  const [a, b, c] = [new Stream(), new Stream(), new Stream()] as const;
  const [one, two] = [Buffer.from('one\n'), Buffer.from('two\n')] as const;
  for (const stream of [a, b]) {
    batch.add(stream, one);
    batch.add(stream, two);
  }
  batch.add(c, two);
  assert.equal(a.flushed.length, 0, 'nothing goes out before the turn is over');
  clock.runDeferred();
  assert.equal(a.flushed.length, 1);
  assert.equal(a.flushed[0]?.chunk, b.flushed[0]?.chunk);
  assert.equal(a.flushed[0]?.chunk.toString(), '8\r\none\ntwo\n\r\n');
  assert.equal(a.flushed[0]?.lines.toString(), 'one\ntwo\n');
  assert.equal(c.flushed[0]?.chunk.toString(), '4\r\ntwo\n\r\n');
  assert.equal(c.flushed[0]?.lines, two, 'a lone line is not copied');
  batch.add(a, one);
  clock.runDeferred();
  assert.equal(a.flushed[1]?.chunk.toString(), '4\r\none\n\r\n');
  assert.equal(b.flushed.length, 1);
});
