import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtoReader } from './proto-reader.ts';
import { ProtoWriter } from './proto-writer.ts';

const fieldOf = (tag: number): number => Math.floor(tag / 8);

test('wherever the room ends within a message, nothing of it is lost', () => {
  // The scratch memory begins with 4096 bytes: every byte of what follows is once the one that needs more.
  for (let length = 4000; length <= 4096; length++) {
    const writer = new ProtoWriter();
    const filler = new Uint8Array(length).fill(7);
    writer.setBytes(1, filler);
    writer.integer(2, 5);
    writer.integer(3, 300);
    writer.flag(4, true);
    writer.id(5, -1n);
    writer.text(6, 'text');
    writer.message(7, writer.size);
    writer.setInteger(8, 0);
    const reader = new ProtoReader(writer.take());
    const seen: unknown[] = [];
    while (reader.more(reader.end)) {
      const tag = reader.tag();
      const field = fieldOf(tag);
      if (field === 8 || field === 3 || field === 2) seen.push([field, reader.integer()]);
      else if (field === 5) seen.push([field, reader.signed()]);
      else if (field === 4) seen.push([field, reader.flag()]);
      else seen.push([field, Buffer.from(reader.bytes()).toString('latin1')]);
    }
    assert.deepEqual(
      seen,
      [
        [8, 0],
        [7, ''],
        [6, 'text'],
        [5, -1n],
        [4, true],
        [3, 300],
        [2, 5],
        [1, Buffer.from(filler).toString('latin1')],
      ],
      `filler of ${length} bytes`,
    );
  }
});
