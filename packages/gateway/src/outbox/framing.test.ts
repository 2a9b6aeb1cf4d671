import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpChunk, lineFrames, textFrame, unframed } from './framing.ts';

const sizeOf = (pieces: readonly Buffer[]): number => pieces.reduce((sum, piece) => sum + piece.length, 0);

test('every line is a text frame without its newline, with the head that its length asks for', () => {
  const heads: readonly [number, number[]][] = [
    [0, [0x81, 0]],
    [125, [0x81, 125]],
    [126, [0x81, 126, 0, 126]],
    [65_535, [0x81, 126, 255, 255]],
    [65_536, [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]],
  ];
  const texts = heads.map(([length], i) => String(i).repeat(length));
  const expected = Buffer.concat(
    heads.flatMap(([, head], i) => [Buffer.from(head), Buffer.from(texts[i] as string)]),
  );
  const lines = texts.map((text) => Buffer.from(`${text}\n`));
  assert.ok(lineFrames(lines, sizeOf(lines)).equals(expected));
  assert.ok(Buffer.concat(texts.map(textFrame)).equals(expected));
});

test('lengths are of bytes', () => {
  const text = 'é'.repeat(63);
  const line = Buffer.from(`${text}\n`);
  assert.deepEqual([...textFrame(text).subarray(0, 4)], [0x81, 126, 0, 126]);
  assert.ok(lineFrames([line], line.length).equals(textFrame(text)));
});

test('a chunk holds the pieces together; unframed, a lone piece is not copied', () => {
  const [one, two] = [Buffer.from('one\n'), Buffer.from('twenty\n')] as const;
  assert.equal(httpChunk([one, two], 11).toString(), 'b\r\none\ntwenty\n\r\n');
  assert.equal(unframed([one, two], 11).toString(), 'one\ntwenty\n');
  assert.equal(unframed([two], 7), two);
});
