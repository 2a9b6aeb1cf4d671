import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { PeerEvent, PeerMessage } from '@muster/member';
import type { Message } from '@muster/raft';
import { fetchClusterInfo, speaksWith } from './cluster-info.ts';
import { FRAME, frameOf } from './frames.ts';
import { encodeHello } from './handshake.ts';
import { introduce, realClock, Station } from './test-support.ts';

const heartbeat = (from: bigint, to: bigint, context: number): PeerMessage => ({
  type: 'raft',
  message: { type: 'heartbeat', from, to, term: 1, commit: 0, context },
});

const isDown = (event: PeerEvent): boolean => event.type === 'disconnected';

function contexts(station: Station): number[] {
  return station.events.flatMap((event) =>
    event.type === 'message' && event.message.type === 'raft' && event.message.message.type === 'heartbeat'
      ? [event.message.message.context]
      : [],
  );
}

/** Runs with stations that are closed whatever happens. */
async function withStations(
  stations: readonly Station[],
  run: (...stations: Station[]) => Promise<void>,
): Promise<void> {
  try {
    await run(...stations);
  } finally {
    await Promise.all(stations.map((station) => station.close()));
  }
}

describe('the peer transport', () => {
  it('delivers messages in order, in both directions', async () => {
    await withStations([await Station.open(1n), await Station.open(2n)], async (a, b) => {
      await introduce(a as Station, b as Station);
      for (let i = 0; i < 1000; i++) assert.equal(a?.transport.send(2n, heartbeat(1n, 2n, i)), true);
      assert.equal(b?.transport.send(1n, { type: 'request', id: 9, body: Uint8Array.of(1, 2) }), true);
      await b?.until(() => contexts(b).length === 1000);
      assert.deepEqual(contexts(b as Station), [...Array(1000).keys()]);
      const got = await a?.event((event) => event.type === 'message');
      assert.deepEqual(structuredClone(got), {
        type: 'message',
        from: 2n,
        message: { type: 'request', id: 9, body: Uint8Array.of(1, 2) },
      });
      const [stats] = (a as Station).transport.peerStats();
      assert.equal(stats?.sentMessages, 1000);
      assert.ok((stats?.sentBytes ?? 0) < 40_000, `${stats?.sentBytes} bytes for 1000 heartbeats`);
      assert.ok((a?.transport.connectedForMs(2n) ?? -1) >= 0);
    });
  });

  it('carries entries larger than a socket buffer', async () => {
    await withStations([await Station.open(1n), await Station.open(2n)], async (a, b) => {
      await introduce(a as Station, b as Station);
      const data = new Uint8Array(3 << 20).map((_, i) => i % 251);
      const entries = [1, 2, 3].map((index) => ({ term: 1, index, type: 'normal' as const, data }));
      const message: Message = {
        type: 'append',
        from: 1n,
        to: 2n,
        term: 1,
        prevIndex: 0,
        prevTerm: 0,
        commit: 0,
        entries,
      };
      assert.equal(a?.transport.send(2n, { type: 'raft', message }), true);
      const got = await b?.event((event) => event.type === 'message');
      assert.ok(
        got?.type === 'message' && got.message.type === 'raft' && got.message.message.type === 'append',
      );
      assert.deepEqual(
        got.message.message.entries.map((entry) => Buffer.compare(entry.data, data)),
        [0, 0, 0],
      );
    });
  });

  it('refuses another cluster, names the reason once, and goes on', async () => {
    const stations = [await Station.open(1n), await Station.open(2n, { clusterId: 8n })];
    await withStations(stations, async (a, b) => {
      const limits = (station: Station | undefined) =>
        station?.logged.filter((line) => /refused/.test(`${line.text} ${line.fields.reason}`));
      b?.transport.setPeers(new Map([[1n, [a?.url ?? '']]]));
      a?.transport.setPeers(new Map([[2n, [b?.url ?? '']]]));
      const refused = async (station: Station | undefined): Promise<void> => {
        while ((limits(station)?.length ?? 0) < 2) await new Promise((resolve) => setImmediate(resolve));
      };
      await Promise.all([refused(a), refused(b)]);
      assert.match(JSON.stringify(limits(a)), /cluster ID mismatch: the caller's is 8, this member's is 7/);
      assert.match(
        JSON.stringify(limits(b)),
        /refused: cluster ID mismatch: the caller's is 8, this member's is 7/,
      );
      assert.equal(a?.transport.send(2n, heartbeat(1n, 2n, 0)), false);
      assert.equal(a?.count('connected'), 0);
    });
  });

  it('closes only the connection that sends garbage', async () => {
    await withStations([await Station.open(1n), await Station.open(2n)], async (a, b) => {
      await introduce(a as Station, b as Station);
      for (const garbage of ['GET / HTTP/1.1\r\n\r\n', '\0'.repeat(64), '\x09\0\0\0aaaabbbbbbbbb']) {
        const socket = connect(a?.port ?? 0, '127.0.0.1');
        socket.on('error', () => {});
        socket.resume();
        socket.write(garbage);
        await once(socket, 'close');
      }
      assert.equal(a?.transport.send(2n, heartbeat(1n, 2n, 1)), true);
      await b?.event((event) => event.type === 'message');
      assert.equal(a?.count('disconnected'), 0);
    });
  });

  it('drops a sender whose message claims to come from another, and only that', async () => {
    await withStations(
      [await Station.open(1n), await Station.open(2n), await Station.open(3n)],
      async (a, b, c) => {
        await introduce(a as Station, b as Station, c as Station);
        assert.equal(b?.transport.send(1n, heartbeat(3n, 1n, 1)), true);
        await b?.event(isDown);
        assert.ok(a?.logged.some((line) => /from 3 to 1 sent by 2/.test(String(line.fields.reason))));
        assert.equal(c?.transport.send(1n, heartbeat(3n, 1n, 2)), true);
        await a?.event((event) => event.type === 'message' && event.from === 3n);
      },
    );
  });

  it('drops messages and says so when the queue is full, and empties it afterwards', async () => {
    const limits = { queueMessages: 100, queueBytes: 512 * 1024 };
    await withStations([await Station.open(1n, { limits }), await Station.open(2n)], async (a, b) => {
      await introduce(a as Station, b as Station);
      let accepted = 0;
      while (a?.transport.send(2n, heartbeat(1n, 2n, accepted))) accepted++;
      assert.equal(accepted, 100);
      const body = new Uint8Array(200 * 1024);
      await b?.until(() => contexts(b).length === 100);
      let bodies = 0;
      while (a?.transport.send(2n, { type: 'request', id: 1, body })) bodies++;
      assert.equal(bodies, 2);
      assert.equal(a?.transport.peerStats()[0]?.droppedMessages, 2);
      await b?.until(() => b.count('message') === 102);
      assert.equal(a?.transport.send(2n, heartbeat(1n, 2n, 100)), true);
    });
  });

  it('reconnects when a peer comes back on its address', async () => {
    const a = await Station.open(1n);
    let b = await Station.open(2n);
    const port = b.port;
    await introduce(a, b);
    await b.close();
    const down = await a.event(isDown);
    assert.deepEqual(down, { type: 'disconnected', peer: 2n, reset: true });
    assert.equal(a.transport.connectedForMs(2n), undefined);
    b = await Station.open(2n, { port });
    const startedMs = performance.now();
    await withStations([a, b], async () => {
      b.transport.setPeers(new Map([[1n, [a.url]]]));
      await a.until(() => a.count('connected') === 2);
      const tookMs = performance.now() - startedMs;
      assert.ok(tookMs < 500, `took ${tookMs} ms`);
      assert.deepEqual(
        a.events.map((event) => event.type),
        ['connected', 'disconnected', 'connected'],
      );
    });
  });

  it('notices a peer that accepts and then says nothing, without calling it dead', async () => {
    const limits = { pingMs: 20, silenceMs: 100 };
    const frozen = await freeze();
    const a = await Station.open(1n, { limits });
    await withStations([a], async () => {
      a.transport.setPeers(new Map([[2n, [frozen.url]]]));
      await a.event((event) => event.type === 'connected');
      process.kill(frozen.child.pid as number, 'SIGSTOP');
      assert.deepEqual(await a.event(isDown), { type: 'disconnected', peer: 2n, reset: false });
    });
    frozen.child.kill('SIGKILL');
    await once(frozen.child, 'exit');
  });

  it('sees a peer killed within 50 ms, on both connections', async () => {
    const a = await Station.open(1n);
    await withStations([a], async () => {
      const { child, url } = await freeze(`1=${a.url}`);
      a.transport.setPeers(new Map([[2n, [url]]]));
      await a.event((event) => event.type === 'connected');
      const tookMs = await timeToDown(a, child);
      assert.ok(tookMs < 50, `took ${tookMs} ms`);
      assert.deepEqual(await a.event(isDown), { type: 'disconnected', peer: 2n, reset: true });
    });
  });

  it('takes the end of the connection that a dying peer had dialled for its death', async () => {
    const a = await Station.open(1n);
    await withStations([a, await Station.open(2n)], async (_, b) => {
      await introduce(a, b as Station);
      // Somebody with the other's id replaces its connection and dies: the closest to half a death from outside.
      const socket = connect(a.port, '127.0.0.1');
      const versions = { versionMin: 1, versionMax: 1, serverVersion: 'x', urls: [] };
      socket.write(encodeHello({ ...versions, kind: 'messages', clusterId: 7n, from: 2n, to: 1n }));
      await once(socket, 'data');
      socket.destroy();
      assert.deepEqual(await a.event(isDown), { type: 'disconnected', peer: 2n, reset: true });
      await a.until(() => a.count('connected') === 2);
    });
  });

  it('answers pings, and measures the round trip', async () => {
    const stations = [await Station.open(1n, { limits: { pingMs: 10 } }), await Station.open(2n)];
    await withStations(stations, async (a, b) => {
      await introduce(a as Station, b as Station);
      while (a?.transport.peerStats()[0]?.roundTripMs === undefined) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.ok((a.transport.peerStats()[0]?.roundTripMs ?? -1) < 1000);
      assert.equal(a.count('disconnected'), 0);
    });
  });

  it('forgets a peer that is no longer one, and refuses its dials', async () => {
    await withStations([await Station.open(1n), await Station.open(2n)], async (a, b) => {
      await introduce(a as Station, b as Station);
      a?.transport.setPeers(new Map());
      assert.equal(a?.transport.send(2n, heartbeat(1n, 2n, 0)), false);
      assert.deepEqual(await b?.event(isDown), { type: 'disconnected', peer: 1n, reset: false });
      while (!b?.logged.some((line) => /not in this member's cluster/.test(String(line.fields.reason)))) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
  });

  it('tells a removed member that it is one, and anyone who asks who the members are', async () => {
    await withStations([await Station.open(1n), await Station.open(2n)], async (a, b) => {
      assert.ok(a && b);
      await introduce(a, b);
      const member = (id: bigint, isLearner: boolean) => ({
        id,
        name: `m${id}`,
        peerUrls: [`http://h${id}:2380`, 'https://other:1'],
        clientUrls: ['http://c:2379'],
        isLearner,
      });
      const members = [member(1n, false), member(2n ** 63n + 5n, true)];
      a.transport.setPeers(new Map(), { members, removed: new Set([2n]) });
      assert.deepEqual(await b.event((event) => event.type === 'removed'), { type: 'removed', by: 1n });
      const info = await fetchClusterInfo(a.url, { clock: realClock, tls: undefined });
      assert.deepEqual(info, {
        clusterId: 7n,
        versionMin: 1,
        versionMax: 1,
        serverVersion: '0.1.0',
        members,
        removed: [2n],
      });
      assert.ok(speaksWith(info));
      assert.ok(!speaksWith({ versionMin: 2, versionMax: 9 }));
    });
  });

  it('hears a member of its cluster that it does not know yet, and answers it', async () => {
    await withStations([await Station.open(1n), await Station.open(2n)], async (old, fresh) => {
      assert.ok(old && fresh);
      const self = { id: 2n, name: '', peerUrls: [fresh.url], clientUrls: [], isLearner: false };
      old.transport.setPeers(new Map());
      fresh.transport.setPeers(new Map([[1n, [old.url]]]), { members: [self], removed: new Set() });
      await old.event((event) => event.type === 'connected');
      assert.ok(fresh.transport.send(1n, heartbeat(2n, 1n, 5)));
      await old.event((event) => event.type === 'message');
      assert.ok(old.transport.send(2n, heartbeat(1n, 2n, 6)));
      await fresh.event((event) => event.type === 'message');
      old.transport.setPeers(new Map());
      assert.notEqual(old.transport.connectedForMs(2n), undefined, 'it stays until it hangs up');
      fresh.transport.setPeers(new Map());
      while (old.transport.peerStats().length > 0) await new Promise((resolve) => setImmediate(resolve));
    });
  });

  it('says why nobody told who the members are', async () => {
    const a = await Station.open(1n);
    const { url } = a;
    await a.close();
    const env = { clock: realClock, tls: undefined };
    await assert.rejects(fetchClusterInfo(url, env), /ECONNREFUSED/);
    await assert.rejects(fetchClusterInfo('https://127.0.0.1:1', env), /has no peer certificate/);
    await assert.rejects(fetchClusterInfo('nonsense', env), /cannot be parsed/);
  });

  it('follows a peer to its new URL, and survives one that cannot be dialled', async () => {
    const moved = await Station.open(2n);
    await withStations([await Station.open(1n), await Station.open(2n), moved], async (a, b) => {
      assert.ok(a && b);
      await introduce(a, b);
      moved.transport.setPeers(new Map([[1n, [a.url]]]));
      a.transport.setPeers(new Map([[2n, ['http://999.999.999.999:1']]]));
      await a.event(isDown);
      a.transport.setPeers(new Map([[2n, [moved.url]]]));
      await a.until(() => a.count('connected') === 2);
      assert.ok(a.transport.send(2n, heartbeat(1n, 2n, 0)));
      await moved.event((event) => event.type === 'message');
    });
  });

  it('keeps callers waiting that come before it knows its peers, instead of refusing them', async () => {
    await withStations([await Station.open(1n), await Station.open(2n)], async (a, b) => {
      b?.transport.setPeers(new Map([[1n, [a?.url ?? '']]]));
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(b?.count('connected'), 0);
      a?.transport.setPeers(new Map([[2n, [b?.url ?? '']]]));
      await Promise.all([a, b].map((station) => station?.event((event) => event.type === 'connected')));
      assert.deepEqual(
        [...(a?.logged ?? []), ...(b?.logged ?? [])].filter((line) => /no connection/.test(line.text)),
        [],
      );
    });
  });

  it('says why it cannot listen', async () => {
    const a = await Station.open(1n);
    await withStations([a], async () => {
      await assert.rejects(Station.open(2n, { port: a.port }), { code: 'EADDRINUSE' });
    });
  });

  it('refuses a frame that has no place among messages', async () => {
    const a = await Station.open(1n);
    await withStations([a, await Station.open(2n)], async (_, b) => {
      await introduce(a, b as Station);
      const socket = connect(a.port, '127.0.0.1');
      const versions = { versionMin: 1, versionMax: 1, serverVersion: 'x', urls: [] };
      socket.write(encodeHello({ ...versions, kind: 'messages', clusterId: 7n, from: 2n, to: 1n }));
      socket.write(frameOf(FRAME.snapshotEnd));
      socket.resume();
      await once(socket, 'end');
      assert.ok(a.logged.some((line) => /frame of type 10 among messages/.test(String(line.fields.reason))));
      socket.destroy();
    });
  });
});

/** A peer 2 in its own process. */
async function freeze(...peers: string[]): Promise<{ child: ChildProcess; url: string }> {
  const script = fileURLToPath(new URL('./victim.child.ts', import.meta.url));
  const child = fork(script, ['2', '0', ...(peers.length > 0 ? peers : ['1=http://127.0.0.1:1'])]);
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return { child, url: `http://127.0.0.1:${port}` };
}

async function timeToDown(station: Station, child: ChildProcess): Promise<number> {
  const startedMs = performance.now();
  child.kill('SIGKILL');
  await station.event(isDown);
  return performance.now() - startedMs;
}
