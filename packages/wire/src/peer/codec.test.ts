import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PeerMessage } from '@muster/member';
import type { Message } from '@muster/raft';
import fc from 'fast-check';
import { ByteReader, ByteWriter, MalformedFrame } from './bytes.ts';
import { decodePeerMessage, encodePeerMessage, peerMessageBytes } from './codec.ts';

const id = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });
const number = fc.oneof(
  fc.maxSafeNat(),
  fc.nat(200),
  fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 35 - 1, 2 ** 53 - 1),
);
const bytes = fc.uint8Array({ maxLength: 300 });
const kind = fc.constantFrom('normal' as const, 'config' as const);
const base = { from: id, to: id, term: number };
const known = { commit: number, commitTerm: number };
const ids = fc.array(id, { maxLength: 5 });

const append = fc
  .record({
    ...base,
    prevIndex: fc.nat(2 ** 40),
    prevTerm: number,
    commit: number,
    entries: fc.array(fc.record({ term: number, type: kind, data: bytes }), { maxLength: 20 }),
  })
  .map((message) => ({
    ...message,
    type: 'append' as const,
    entries: message.entries.map((entry, i) => ({ ...entry, index: message.prevIndex + 1 + i })),
  }));

const of = <T extends Message['type']>(type: T, fields: object): fc.Arbitrary<Message> =>
  fc.record({ type: fc.constant(type), ...base, ...fields }) as unknown as fc.Arbitrary<Message>;

const raft: fc.Arbitrary<Message> = fc.oneof(
  append,
  of('appendResponse', { index: number, reject: fc.boolean(), hintIndex: number, hintTerm: number }),
  of('heartbeat', { commit: number, context: number }),
  of('heartbeatResponse', { context: number }),
  of('vote', { lastIndex: number, lastTerm: number, transfer: fc.boolean(), ...known }),
  of('preVote', { lastIndex: number, lastTerm: number, transfer: fc.boolean(), ...known }),
  of('voteResponse', { reject: fc.boolean(), ...known }),
  of('preVoteResponse', { reject: fc.boolean(), ...known }),
  of('snapshot', {
    snapshot: fc.record({
      index: number,
      term: number,
      confState: fc.record({
        voters: ids,
        votersOutgoing: ids,
        learners: ids,
        learnersNext: ids,
        autoLeave: fc.boolean(),
      }),
    }),
  }),
  of('timeoutNow', {}),
  of('readIndex', { context: number }),
  of('readIndexResponse', { context: number, index: number }),
  of('propose', {
    context: number,
    entries: fc.array(fc.record({ type: kind, data: bytes }), { maxLength: 20 }),
  }),
  of('transferLeader', { target: id }),
  of('proposeRefused', {
    context: number,
    reason: fc.constantFrom('noLeader', 'transferring', 'overloaded', 'notMember', 'confChangePending'),
  }),
);

const anyMessage: fc.Arbitrary<PeerMessage> = fc.oneof(
  { weight: 8, arbitrary: raft.map((message) => ({ type: 'raft' as const, message })) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('request' as const), id: number, body: bytes }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('response' as const), id: number, body: bytes }) },
);

function encoded(message: PeerMessage): Uint8Array {
  const writer = new ByteWriter();
  encodePeerMessage(writer, message);
  return writer.finish();
}

/** Decodes, and lets nothing but `MalformedFrame` out. */
function attempt(input: Uint8Array): PeerMessage | undefined {
  try {
    return decodePeerMessage(input);
  } catch (error) {
    assert.ok(error instanceof MalformedFrame, `expected MalformedFrame, got ${String(error)}`);
    return undefined;
  }
}

/** Byte arrays compare by content, whatever class of view they are. */
const plain = (message: PeerMessage): unknown => structuredClone(message);

describe('peer codec', () => {
  it('gives back every message as it was, within the announced bound', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const wire = encoded(message);
        assert.deepEqual(plain(decodePeerMessage(wire)), plain(message));
        assert.ok(wire.length <= peerMessageBytes(message), `${wire.length} > ${peerMessageBytes(message)}`);
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses every message that is cut short', () => {
    fc.assert(
      fc.property(raft, fc.nat(), (message, at) => {
        const wire = encoded({ type: 'raft', message });
        assert.equal(attempt(wire.subarray(0, at % wire.length)), undefined);
      }),
      { numRuns: 1000 },
    );
  });

  it('refuses a message with bytes too many', () => {
    fc.assert(
      fc.property(raft, (message) => {
        const wire = encoded({ type: 'raft', message });
        assert.equal(attempt(Uint8Array.of(...wire, 0)), undefined);
      }),
    );
  });

  it('survives arbitrary bytes and flipped bits: a typed refusal, or a message that encodes to the same bytes', () => {
    const flipped = fc.tuple(anyMessage, fc.nat(), fc.nat(7)).map(([message, at, bit]) => {
      const wire = encoded(message);
      const place = at % wire.length;
      wire[place] = (wire[place] as number) ^ (1 << bit);
      return wire;
    });
    fc.assert(
      fc.property(fc.oneof(flipped, fc.uint8Array({ maxLength: 100 })), (input) => {
        const message = attempt(input);
        if (message !== undefined) assert.deepEqual(encoded(message), new Uint8Array(input));
      }),
      { numRuns: 5000 },
    );
  });

  it('does not believe a count that the bytes cannot carry', () => {
    const writer = new ByteWriter();
    writer.u8(0);
    writer.u8(0);
    writer.u64(1n);
    writer.u64(2n);
    for (const value of [1, 1, 1, 1, 2 ** 50]) writer.varint(value);
    assert.throws(() => decodePeerMessage(writer.finish()), /a list of 1125899906842624 in 0 bytes/);
  });

  it('hands out entry data as views of what came in', () => {
    const data = new Uint8Array(1000).fill(7);
    const wire = encoded({
      type: 'raft',
      message: {
        type: 'propose',
        from: 1n,
        to: 2n,
        term: 1,
        context: 0,
        entries: [{ type: 'normal', data }],
      },
    });
    const back = decodePeerMessage(wire);
    assert.ok(back.type === 'raft' && back.message.type === 'propose');
    assert.equal(back.message.entries[0]?.data.buffer, wire.buffer);
  });
});

describe('varints', () => {
  it('keep every unsigned safe integer in the fewest bytes', () => {
    fc.assert(
      fc.property(number, (value) => {
        const writer = new ByteWriter();
        writer.varint(value);
        const wire = writer.finish();
        assert.equal(new ByteReader(wire).varint(), value);
        assert.equal(wire.length, Math.max(1, Math.ceil(value.toString(2).length / 7)));
      }),
    );
  });

  it('refuse numbers above 2^53 - 1 and superfluous bytes', () => {
    const read = (...wire: number[]) => new ByteReader(Uint8Array.from(wire)).varint();
    assert.throws(() => read(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f), MalformedFrame);
    assert.throws(() => read(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1), MalformedFrame);
    assert.throws(() => read(0x81, 0x00), MalformedFrame);
    assert.throws(() => read(0x81), MalformedFrame);
    assert.equal(read(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f), Number.MAX_SAFE_INTEGER);
  });
});
