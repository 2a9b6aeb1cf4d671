import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, Prng } from '@muster/base';
import type { SubFrame } from '@muster/contract';
import { FakeTransport } from '../../test/fake-transport.ts';
import { Connection, type NamedFrame, type Subscriber, type Verdict } from './connection.ts';
import { Endpoints } from './endpoints.ts';
import { type ConnectionStatus, SILENT_LOGGER } from './status.ts';

class Recorder implements Subscriber {
  readonly frames: NamedFrame[] = [];
  readonly bookmarks: number[] = [];
  readonly causes: string[] = [];
  verdict: Verdict = 'ok';

  subscribe(id: string): SubFrame {
    return { t: 'sub', id, sel: { kv: { prefix: '' } } };
  }

  receive(frame: NamedFrame): Verdict {
    this.frames.push(frame);
    return this.verdict;
  }

  bookmark(rev: number): void {
    this.bookmarks.push(rev);
  }

  detached(cause: string): void {
    this.causes.push(cause);
  }

  closed(): void {
    this.causes.push('closed');
  }
}

function setup(urls = ['http://a:1', 'http://b:1', 'http://c:1']) {
  const clock = new ManualClock();
  const prng = new Prng(7);
  const transport = new FakeTransport();
  const endpoints = new Endpoints(urls, clock, prng);
  const connection = new Connection({
    endpoints,
    transport,
    clock,
    prng,
    logger: SILENT_LOGGER,
    headers: {},
    clientName: 'test',
  });
  const states: ConnectionStatus['state'][] = [];
  connection.onStatus(({ state }) => states.push(state));
  return { clock, transport, connection, states };
}

test('nothing is dialled before something is subscribed, and the socket goes with the last subscription', () => {
  const { transport, connection, states } = setup();
  assert.equal(transport.sockets.length, 0);
  const first = connection.attach(new Recorder());
  const second = connection.attach(new Recorder());
  transport.socket.welcome();
  assert.equal(transport.sockets.length, 1);
  assert.deepEqual(
    transport.socket.sent.map((frame) => frame.t),
    ['hello', 'sub', 'sub'],
  );
  first.close();
  assert.equal(transport.socket.sent.at(-1)?.t, 'unsub');
  assert.equal(transport.socket.closed, undefined);
  second.close();
  assert.equal(transport.socket.closed, 1000);
  assert.deepEqual(states, ['connecting', 'open', 'idle']);
});

test('a lost socket is opened again at another member, with a new id for every subscription', () => {
  const { clock, transport, connection, states } = setup();
  const recorder = new Recorder();
  connection.attach(recorder);
  transport.socket.welcome();
  const [before] = transport.socket.subs;
  const lost = transport.socket;
  lost.lose();
  assert.equal(recorder.causes.length, 1);
  clock.advance(100);
  assert.notEqual(transport.socket.url, lost.url);
  transport.socket.welcome();
  assert.notEqual(transport.socket.subs[0]?.id, before?.id);
  lost.say({ t: 'ev', id: before?.id ?? '', rev: 5, events: [] });
  assert.equal(recorder.frames.length, 0, 'what an old socket still says is not heard');
  assert.deepEqual(states, ['connecting', 'open', 'backoff', 'connecting', 'open']);
});

test('it tries for ever, with growing pauses that stay bounded', () => {
  const { clock, transport, connection } = setup();
  connection.attach(new Recorder());
  const pauses: number[] = [];
  for (let i = 0; i < 60; i++) {
    transport.socket.lose();
    const status = connection.status;
    assert.equal(status.state, 'backoff');
    pauses.push(status.state === 'backoff' ? status.delayMs : 0);
    clock.advance(5_001);
    assert.equal(connection.status.state, 'connecting');
  }
  assert(Math.max(...pauses) <= 5_000 && Math.max(...pauses.slice(10)) > 1_000, pauses.join());
  assert.equal(new Set(transport.sockets.map((socket) => socket.url)).size, 3, 'every member is tried');
});

test('two and a half heartbeats of silence end a socket; bookmarks and our pings keep it', () => {
  const { clock, transport, connection } = setup();
  const recorder = new Recorder();
  connection.attach(recorder);
  transport.socket.welcome();
  for (let rev = 2; rev < 12; rev++) {
    clock.advance(15_000);
    transport.socket.say({ t: 'bm', rev });
  }
  assert.deepEqual(recorder.bookmarks, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  assert.equal(transport.socket.sent.filter((frame) => frame.t === 'ping').length, 10);
  clock.advance(37_000);
  assert.equal(connection.status.state, 'open');
  const silent = transport.socket;
  clock.advance(600);
  assert.equal(silent.closed, 4408);
});

test('frames that waited while the process stood still count before silence is judged', () => {
  const { clock, transport, connection } = setup();
  connection.attach(new Recorder());
  const { socket } = transport;
  socket.welcome();
  // What is deferred runs after input that is ready: here the member's bookmark.
  const { defer } = clock;
  clock.defer = (run) => {
    socket.say({ t: 'bm', rev: 9 });
    defer.call(clock, run);
  };
  clock.advance(60_000);
  assert.equal(connection.status.state, 'open');
});

test('goaway: the next socket is open before the old one is closed', () => {
  const { clock, transport, connection, states } = setup();
  const recorder = new Recorder();
  connection.attach(recorder);
  const old = transport.socket;
  old.welcome();
  old.say({ t: 'goaway', afterMs: 1000, reason: 'shutdown' });
  const [sub] = old.subs;
  old.say({ t: 'ev', id: sub?.id ?? '', rev: 2, events: [] });
  assert.equal(recorder.frames.length, 1, 'the old one still delivers');
  clock.advance(1000);
  const next = transport.socket;
  assert.notEqual(next.url, old.url);
  assert.equal(old.closed, undefined);
  next.welcome();
  assert.equal(old.closed, 1000);
  assert.equal(next.subs.length, 1);
  assert.deepEqual(states, ['connecting', 'open', 'draining', 'open']);
  assert.deepEqual(recorder.causes, [], 'a planned move is no loss');
});

test('goaway: when the old socket dies first, the next one takes over', () => {
  const { clock, transport, connection } = setup();
  connection.attach(new Recorder());
  const old = transport.socket;
  old.welcome();
  old.say({ t: 'goaway', afterMs: 10, reason: 'rebalance' });
  clock.advance(10);
  const next = transport.socket;
  old.lose();
  assert.equal(connection.status.state, 'connecting');
  next.welcome();
  assert.equal(connection.status.state, 'open');
  assert.equal(next.subs.length, 1);
});

test('a member that breaks the protocol, or sends what is no frame, is left', () => {
  const { clock, transport, connection } = setup();
  const recorder = new Recorder();
  connection.attach(recorder);
  transport.socket.welcome();
  const first = transport.socket;
  recorder.verdict = { violation: 'nonsense' };
  first.say({ t: 'lag', id: first.subs[0]?.id ?? '', behind: 1 });
  assert.equal(first.closed, 4400);
  clock.advance(100);
  const second = transport.socket;
  second.welcome();
  (second as unknown as { say(frame: unknown): void }).say({ t: 'ev', id: 's1', rev: 'x' });
  assert.equal(second.closed, 4400);
  assert.equal(connection.status.state, 'backoff');
});

test('a subscription that ended for now is made again after a pause, on the same socket', () => {
  const { clock, transport, connection } = setup();
  const recorder = new Recorder();
  connection.attach(recorder);
  transport.socket.welcome();
  recorder.verdict = 'again';
  transport.socket.say({ t: 'end', id: transport.socket.subs[0]?.id ?? '' });
  assert.equal(transport.socket.subs.length, 1);
  clock.advance(200);
  assert.equal(transport.socket.subs.length, 2);
  assert.equal(transport.sockets.length, 1);
});

test('pausing lets the socket go and resuming takes it up again', () => {
  const { transport, connection, states } = setup();
  connection.attach(new Recorder());
  transport.socket.welcome();
  connection.pause();
  assert.equal(transport.socket.closed, 1000);
  connection.resume();
  transport.socket.welcome();
  assert.equal(transport.socket.subs.length, 1);
  assert.deepEqual(states, ['connecting', 'open', 'paused', 'idle', 'connecting', 'open']);
});

test('a socket that never greets is given up', () => {
  const { clock, transport, connection } = setup();
  connection.attach(new Recorder());
  transport.socket.open();
  clock.advance(5_000);
  assert.equal(connection.status.state, 'backoff');
});
