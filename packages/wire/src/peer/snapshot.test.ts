import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { FRAME, frameHead, frameOf } from './frames.ts';
import { encodeHello } from './handshake.ts';
import { encodeSnapshotHead, type SnapshotMessage } from './snapshot-receiver.ts';
import { introduce, Station } from './test-support.ts';

const message: SnapshotMessage = {
  type: 'snapshot',
  from: 1n,
  to: 2n,
  term: 3,
  snapshot: {
    index: 10,
    term: 2,
    confState: { voters: [1n, 2n], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
  },
};

const image = new Uint8Array(3_000_000).map((_, i) => (i * 7) % 253);

async function pair(run: (a: Station, b: Station) => Promise<void>): Promise<void> {
  const a = await Station.open(1n, { limits: { snapshotStallMs: 2000 } });
  const b = await Station.open(2n, { limits: { snapshotStallMs: 300 } });
  try {
    await introduce(a, b);
    a.snapshots.images.set('s-1.snap', image);
    await run(a, b);
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
}

const send = (a: Station, name = 's-1.snap'): Promise<Error | undefined> =>
  new Promise((resolve) => a.transport.sendSnapshot(2n, message, name, resolve));

/** Greets station 2 as member 1 for a snapshot, announces `size` bytes, and sends `bytes` of them. */
async function halfASnapshot(b: Station, name: string, size: number, bytes: Uint8Array) {
  const socket = connect(b.port, '127.0.0.1');
  socket.on('error', () => {});
  const versions = { versionMin: 1, versionMax: 1, serverVersion: 'x', urls: [] };
  socket.write(encodeHello({ ...versions, kind: 'snapshot', clusterId: 7n, from: 1n, to: 2n }));
  await once(socket, 'data');
  socket.write(encodeSnapshotHead({ name, size, message }));
  socket.write(frameHead(FRAME.snapshotChunk, bytes));
  socket.write(bytes);
  return socket;
}

async function logged(station: Station, line: string): Promise<void> {
  while (!station.snapshots.log.includes(line)) await new Promise((resolve) => setImmediate(resolve));
}

describe('snapshot transfer', () => {
  it('brings the image over whole, and then the message', async () => {
    await pair(async (a, b) => {
      assert.equal(await send(a), undefined);
      const event = await b.event((one) => one.type === 'snapshotReceived');
      assert.deepEqual(event, { type: 'snapshotReceived', from: 1n, name: 's-1.snap', message });
      assert.deepEqual(b.snapshots.images.get('s-1.snap'), image);
      assert.deepEqual(a.snapshots.log, ['closed s-1.snap']);
      assert.equal(a.count('disconnected') + b.count('disconnected'), 0);
    });
  });

  it('says what is wrong: no such image, not a peer, one already under way', async () => {
    await pair(async (a, b) => {
      assert.match(String(await send(a, 'none')), /no snapshot none/);
      let open = (): void => {};
      b.snapshots.gate = new Promise((resolve) => {
        open = resolve;
      });
      const first = send(a);
      assert.match(String(await send(a)), /a snapshot is already on its way to member 2/);
      open();
      assert.equal(await first, undefined);
      const stranger = new Promise((resolve) => a.transport.sendSnapshot(9n, message, 's-1.snap', resolve));
      assert.match(String(await stranger), /member 9 is not a peer/);
    });
  });

  it('reports what the receiver finds wrong with the image', async () => {
    await pair(async (a, b) => {
      b.snapshots.rejectFinish = 'checksum differs';
      assert.match(String(await send(a)), /the receiver refused the snapshot: checksum differs/);
      assert.deepEqual(b.snapshots.log, ['receiving s-1.snap 3000000']);
      assert.equal(b.count('snapshotReceived'), 0);
    });
  });

  it('cut midway never appears', async () => {
    await pair(async (_, b) => {
      for (const bytes of [1, 1000, 999_999]) {
        const socket = await halfASnapshot(b, 'cut.snap', 1_000_000, image.subarray(0, bytes));
        await logged(b, 'receiving cut.snap 1000000');
        socket.destroy();
        await logged(b, 'aborted cut.snap');
        b.snapshots.log.length = 0;
      }
      assert.equal(b.snapshots.images.size, 0);
      assert.equal(b.count('snapshotReceived'), 0);
    });
  });

  it('is given up when the sender stalls', async () => {
    await pair(async (_, b) => {
      const socket = await halfASnapshot(b, 'slow.snap', 1_000_000, image.subarray(0, 10));
      await once(socket, 'close');
      await logged(b, 'aborted slow.snap');
    });
  });

  it('is refused when it is longer or shorter than announced, or its name could leave the directory', async () => {
    await pair(async (_, b) => {
      const long = await halfASnapshot(b, 'long.snap', 9, image.subarray(0, 10));
      await once(long, 'end');
      const short = await halfASnapshot(b, 'short.snap', 11, image.subarray(0, 10));
      short.write(frameOf(FRAME.snapshotEnd));
      await once(short, 'end');
      for (const name of ['../x.snap', '/etc/x', '.hidden', 'a/b', '']) {
        await once(await halfASnapshot(b, name, 10, image.subarray(0, 10)), 'end');
      }
      const reasons = b.logged.map((line) => String(line.fields.reason)).join('\n');
      assert.match(reasons, /more bytes than were announced/);
      assert.match(reasons, /10 bytes came in, 11 were announced/);
      assert.equal(reasons.match(/unsafe snapshot name/g)?.length, 5);
      assert.equal(b.snapshots.images.size, 0);
    });
  });

  it('waits for a slow receiver instead of filling its memory', async () => {
    await pair(async (a, b) => {
      let open = (): void => {};
      b.snapshots.gate = new Promise((resolve) => {
        open = resolve;
      });
      a.snapshots.images.set('big.snap', new Uint8Array(40 << 20));
      const before = process.memoryUsage().arrayBuffers;
      const sent = send(a, 'big.snap');
      await logged(b, 'receiving big.snap 41943040');
      await new Promise((resolve) => setTimeout(resolve, 100));
      const grown = process.memoryUsage().arrayBuffers - before;
      assert.ok(grown < 20 << 20, `${grown} bytes held while the receiver writes nothing`);
      open();
      assert.equal(await sent, undefined);
    });
  });
});
