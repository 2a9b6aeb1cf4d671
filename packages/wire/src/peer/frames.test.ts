import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { concatBytes } from '@muster/base';
import fc from 'fast-check';
import { MalformedFrame } from './bytes.ts';
import { batchMessages, FRAME, type Frame, FrameReader, frameHead, frameOf } from './frames.ts';
import {
  decodeAnswer,
  decodeHello,
  encodeHello,
  encodeRefusal,
  encodeWelcome,
  type Hello,
  refusalOf,
} from './handshake.ts';

const MAX = 4096;

/** Feeds the stream in pieces cut at the given lengths. */
function read(stream: Uint8Array, cuts: readonly number[], maxBytes = MAX): Frame[] {
  const reader = new FrameReader(maxBytes);
  const frames: Frame[] = [];
  let at = 0;
  for (let i = 0; at < stream.length; i++) {
    const length = cuts.length === 0 ? stream.length : Math.max(1, cuts[i % cuts.length] as number);
    reader.push(stream.subarray(at, at + length), (frame) => frames.push(frame) > 0);
    at += length;
  }
  return frames;
}

const hello: Hello = {
  versionMin: 1,
  versionMax: 1,
  kind: 'messages',
  clusterId: 5n,
  from: 1n,
  to: 2n,
  serverVersion: '0.1.0',
  urls: ['http://10.0.0.1:2380'],
};

describe('frames', () => {
  it('come out as they went in, however the stream is cut', () => {
    const payload = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 255 }), payload)),
        fc.array(fc.nat(50)),
        (frames, cuts) => {
          const stream = concatBytes(
            ...frames.map(([type, body]) => frameOf(type, (writer) => writer.raw(body))),
          );
          const back = read(stream, cuts);
          assert.deepEqual(
            back.map((frame) => [frame.type, [...frame.payload]]),
            frames.map(([type, body]) => [type, [...body]]),
          );
        },
      ),
    );
  });

  it('with one flipped bit are refused, or wait for bytes that never come', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), fc.nat(), fc.nat(7), (body, at, bit) => {
        const stream = frameOf(FRAME.batch, (writer) => writer.raw(body));
        const place = at % stream.length;
        stream[place] = (stream[place] as number) ^ (1 << bit);
        try {
          assert.deepEqual(read(stream, []), []);
        } catch (error) {
          assert.ok(error instanceof MalformedFrame, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('longer than the limit are refused before anything is allocated for them', () => {
    const stream = frameOf(FRAME.batch, (writer) => writer.raw(new Uint8Array(MAX)));
    assert.throws(() => read(stream.subarray(0, 8), []), /a frame of 4097 bytes; expected 1 to 4096/);
    assert.throws(() => read(new Uint8Array(8), []), /a frame of 0 bytes/);
  });

  it('may carry a payload that is written apart from their head', () => {
    const payload = new Uint8Array(100).fill(9);
    const [frame] = read(concatBytes(frameHead(FRAME.snapshotChunk, payload), payload), [7]);
    assert.deepEqual(frame, { type: FRAME.snapshotChunk, payload });
  });

  it('of batches refuse a message that overruns them', () => {
    const payload = Uint8Array.of(5, 0, 0, 0, 1, 2);
    assert.throws(() => [...batchMessages({ type: FRAME.batch, payload })], MalformedFrame);
  });
});

describe('the handshake', () => {
  const one = (bytes: Uint8Array): Frame => read(bytes, [])[0] as Frame;
  const self = { clusterId: 5n, id: 2n, serverVersion: '0.1.0' };
  const refusal = (change: Partial<Hello>, knows = true) =>
    refusalOf({ ...hello, ...change }, self, () => (knows ? 'member' : 'unknown'));

  it('carries who calls whom', () => {
    assert.deepEqual(decodeHello(one(encodeHello(hello))), hello);
    const welcome = { version: 1, id: 2n, serverVersion: '0.1.0' };
    assert.deepEqual(decodeAnswer(one(encodeWelcome(welcome))), { type: 'welcome', welcome });
    const refused = { code: 'busy', reason: 'later' } as const;
    assert.deepEqual(decodeAnswer(one(encodeRefusal(refused))), { type: 'refused', refusal: refused });
  });

  it('is refused with the reason', () => {
    assert.equal(refusal({}), undefined);
    assert.match(
      refusal({ versionMin: 2, versionMax: 3 })?.reason ?? '',
      /speaks peer protocol 2 to 3, this member speaks 1 to 1/,
    );
    assert.match(
      refusal({ clusterId: 6n })?.reason ?? '',
      /cluster ID mismatch: the caller's is 6, this member's is 5/,
    );
    assert.match(refusal({ to: 3n })?.reason ?? '', /wants member 3, this is member 2/);
    assert.match(refusal({}, false)?.reason ?? '', /member 1 is not in this member's cluster/);
  });

  it('of something else is not taken for one', () => {
    const http = new TextEncoder().encode('GET /version HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.throws(() => read(http, []), MalformedFrame);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (payload) => {
        assert.throws(() => decodeHello({ type: FRAME.hello, payload }), MalformedFrame);
      }),
    );
  });
});
