/** What reads bytes of the disk, of other members and of files, without a member around it. */
import { AssertionFailed, crc32c, type Prng } from '@muster/base';
import { KvError } from '@muster/contract';
import {
  BackendDamaged,
  BackendImport,
  decodeCommand,
  encodeCommand,
  MemoryEngine,
  StateMachine,
} from '@muster/kv';
import { BoltDamaged } from '../../packages/disk/src/bolt/format.ts';
import { BoltFile } from '../../packages/disk/src/bolt/reader.ts';
import { memorySource } from '../../packages/disk/src/bolt/source.ts';
import {
  encodeSnapshotHeader,
  SnapshotDamaged,
  SnapshotParser,
  type SnapshotRecord,
} from '../../packages/disk/src/snapshot-format.ts';
import {
  decodeAnswer,
  decodeCall,
  encodeAnswer,
  encodeCall,
} from '../../packages/member/src/leader-calls.ts';
import { configOutcome } from './config.ts';
import { boltFile, command, image, leaderAnswer, leaderCall } from './examples.ts';
import { joined, mutateBytes, randomBytes } from './mutate.ts';
import { type Open, Tally, Violation } from './target.ts';

/** How many inputs one seed gives to each. */
const INPUTS = 5;
const SLOW_MS = 2000;
/** About as many as the file of the examples has. */
const ENTRIES = 150;

/** Reads one input, derived from the generator alone, and says what came of it. Throws what no input may bring about. */
type Decoder = (prng: Prng) => string;

export const openDecoders: Open = () => {
  const tally = new Tally();
  return {
    name: 'decoders',
    tally,
    async run(prng) {
      for (const [name, decode] of Object.entries(DECODERS)) {
        for (let n = 0; n < INPUTS; n++) tally.add(`${name} ${once(name, decode, prng)}`);
        // The look at the member is not to wait for all of them.
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    close: () => {},
  };
};

function once(name: string, decode: Decoder, prng: Prng): string {
  const started = performance.now();
  let outcome: string;
  try {
    outcome = decode(prng);
  } catch (error) {
    throw new Violation(`${name}: ${(error as Error).stack}`, { cause: error });
  }
  const took = performance.now() - started;
  if (took > SLOW_MS) throw new Violation(`${name} took ${Math.round(took)} ms`);
  return outcome;
}

/** The name of an expected error, or `ok`. Others are thrown on. */
function outcomeOf(expected: readonly (new (...args: never[]) => Error)[], run: () => void): string {
  try {
    run();
    return 'ok';
  } catch (error) {
    if (expected.some((type) => error instanceof type)) return (error as Error).name;
    throw error;
  }
}

const changed = (prng: Prng, bytes: Uint8Array): Uint8Array =>
  prng.chance(0.1) ? bytes : mutateBytes(prng, bytes);

const DECODERS: Readonly<Record<string, Decoder>> = {
  call(prng) {
    const call = decodeCall(changed(prng, encodeCall(leaderCall(prng))));
    if (call === undefined) return 'none';
    if (JSON.stringify(call, bigText) !== JSON.stringify(decodeCall(encodeCall(call)), bigText)) {
      throw new Error(`another after a round trip: ${JSON.stringify(call, bigText)}`);
    }
    return 'ok';
  },

  answer(prng) {
    return outcomeOf([KvError], () => {
      const bytes = changed(prng, encodeAnswer(leaderAnswer(prng)));
      decodeAnswer(encodeAnswer(decodeAnswer(bytes)));
    });
  },

  /** What can be read can be written, and is the same again. */
  command(prng) {
    const requestId = { member: prng.uint64(), sequence: prng.int(0, 2 ** 31) };
    const bytes = changed(
      prng,
      encodeCommand(requestId, command(prng), prng.pick(['internal', 'anonymous'])),
    );
    return outcomeOf([AssertionFailed], () => {
      const first = decodeCommand(bytes);
      const again = decodeCommand(encodeCommand(first.requestId, first.command, first.origin));
      if (JSON.stringify(first, bigText) !== JSON.stringify(again, bigText)) {
        throw new Error(`another after a round trip: ${JSON.stringify(first, bigText)}`);
      }
    });
  },

  snapshot(prng) {
    const bytes = prng.chance(0.5) ? changed(prng, image(prng)) : wrongRecords(prng);
    return outcomeOf([SnapshotDamaged], () => {
      const parser = new SnapshotParser('fuzz');
      const records: SnapshotRecord[] = [];
      for (let at = 0; at < bytes.length; ) {
        const length = prng.int(1, 300);
        parser.push(bytes.subarray(at, at + length), records);
        at += length;
      }
      parser.finish();
      const content = records.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
      if (content > bytes.length) throw new Error(`${content} bytes in records out of ${bytes.length}`);
    });
  },

  bolt(prng) {
    const bytes = damagedPages(prng, boltFile());
    return outcomeOf([BoltDamaged, BackendDamaged], () => {
      const engine = new MemoryEngine();
      const into = new BackendImport(engine);
      for (const { name, entries } of new BoltFile(memorySource(bytes)).buckets()) {
        for (const [key, value] of entries()) into.add(name.toString('latin1'), key, value);
      }
      into.finish({ members: [] });
      engine.commit(1);
      new StateMachine(engine, { minLeaseTtlSeconds: 2 });
    });
  },

  /** A file that is whole, with records in it that etcd has not written. */
  records(prng) {
    return outcomeOf([BackendDamaged], () => {
      const engine = new MemoryEngine();
      const into = new BackendImport(engine);
      const odd = prng.int(0, ENTRIES);
      let n = 0;
      for (const { name, entries } of new BoltFile(memorySource(boltFile())).buckets()) {
        for (const [key, value] of entries()) {
          const isOdd = n++ === odd;
          const oddKey = isOdd && prng.chance(0.5) ? mutateBytes(prng, key) : key;
          into.add(name.toString('latin1'), oddKey, isOdd ? mutateBytes(prng, value) : value);
        }
      }
      into.finish({ members: [], bumpRevision: prng.pick([0, 1000]), markCompacted: prng.chance(0.5) });
      engine.commit(1);
      new StateMachine(engine, { minLeaseTtlSeconds: 2 });
    });
  },

  config: configOutcome,
};

/** Behind right checksums, records that are none. */
function wrongRecords(prng: Prng): Uint8Array {
  const header = encodeSnapshotHeader(prng.int(0, 1000));
  let crc = crc32c(header);
  const parts: Uint8Array[] = [header];
  for (let n = prng.int(0, 4); n > 0; n--) {
    const whole = image(prng);
    const block = mutateBytes(prng, prng.chance(0.5) ? whole.subarray(32, -16) : randomBytes(prng, 200));
    if (block.length === 0) continue;
    crc = crc32c(block, crc);
    const head = Buffer.alloc(8);
    head.writeUInt32LE(block.length, 0);
    head.writeUInt32LE(crc, 4);
    parts.push(head, block);
  }
  const end = Buffer.alloc(16);
  end.writeUInt32LE(crc, 4);
  end.writeUInt32LE(prng.int(0, 5), 8);
  return joined(...parts, end);
}

/** Bytes changed in place, mostly in the headers and elements of pages, so that pages stay where they are. */
function damagedPages(prng: Prng, file: Buffer): Buffer {
  if (prng.chance(0.1)) return Buffer.from(mutateBytes(prng, file));
  const bytes = Buffer.from(file);
  for (let n = prng.int(1, 4); n > 0; n--) {
    const page = prng.int(prng.chance(0.9) ? 2 : 0, bytes.length / 4096) * 4096;
    const at = page + prng.int(0, prng.pick([16, 32, 200, 4096]));
    const value = prng.pick([0, 1, 2, 255, (bytes[at] as number) ^ (1 << prng.int(0, 8))]);
    bytes[at] = value;
  }
  return bytes;
}

/** For comparing: 64-bit numbers as text, and no lease as none. */
function bigText(key: string, value: unknown): unknown {
  if (key === 'lease' && value === 0n) return undefined;
  return typeof value === 'bigint' ? `${value}n` : value;
}
