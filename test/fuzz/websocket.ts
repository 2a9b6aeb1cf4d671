/** WebSockets: the watch protocol of /v1 and etcd's calls over /v3, by wrong frames, and by right ones that are counted. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Prng } from '@muster/base';
import { CloseCode, parseServerFrame, type ServerFrame } from '@muster/contract';
import { WebSocket } from 'ws';
import { type Json, jsonText, randomBytes } from './mutate.ts';
import { answered, checkWords, type Open, Tally, Violation } from './target.ts';

const FRAMES: readonly Json[] = [
  { t: 'hello', v: 1, client: 'fuzz' },
  { t: 'sub', id: 'a', sel: { kv: { prefix: 'f' } }, snapshot: true, credit: 2 },
  { t: 'sub', id: 'b', sel: { service: { name: '*', status: ['up'] } }, from: '1.2' },
  { t: 'sub', id: 'c', sel: { cluster: {} } },
  { t: 'sub', id: 'd', sel: { kv: { start: 'a', end: 'z', prevKv: true, only: ['put'] } } },
  { t: 'unsub', id: 'a' },
  { t: 'ack', id: 'a', rev: 3, credit: 5 },
  { t: 'auth', token: 'x.1' },
  { t: 'call', id: 'k', op: 'put', args: { key: 'f', value: 'x' } },
  { t: 'ping', n: 1 },
  { t: 'progress', id: 'a' },
];
const ETCD: readonly Json[] = [
  { create_request: { key: 'ZnV6eg==', range_end: 'AA==', watch_id: '3', prev_kv: true } },
  { cancel_request: { watch_id: '0' } },
  { progress_request: {} },
  { ID: '77' },
];
const LINGER_MS = 20;
/**
 * How a socket may end: by the client's close, without one (etcd's calls), by RFC 6455's own codes for what is no
 * frame, or by the protocol's.
 */
const CLOSE_CODES: ReadonlySet<number> = new Set([1000, 1002, 1005, 1006, 1007, ...Object.values(CloseCode)]);

export const openWebSocket: Open = ({ clientUrl }) => {
  const url = clientUrl.replace('http', 'ws');
  const tally = new Tally();
  return {
    name: 'websocket',
    tally,
    async run(prng) {
      const kind = prng.float();
      if (kind < 0.2) await raw(prng, clientUrl);
      else if (kind < 0.3) await session(prng, clientUrl, tally);
      else await frames(prng, url, tally);
    },
    close: () => {},
  };
};

async function frames(prng: Prng, url: string, tally: Tally): Promise<void> {
  const own = prng.chance(0.6);
  const etcdPath = prng.pick(['watch', 'lease/keepalive', 'kv/range', 'lock/lock', 'nothing']);
  const socket = own
    ? new WebSocket(`${url}/v1/watch`, 'watch.v1+json')
    : new WebSocket(`${url}/v3/${etcdPath}`, prng.chance(0.2) ? ['Bearer', 'token'] : []);
  const received: string[] = [];
  socket.on('message', (data) => received.push(String(data)));
  socket.on('error', () => {});
  const closed = once(socket, 'close') as Promise<[number, Buffer]>;
  const opened = once(socket, 'open').then(() => true);
  await answered(Promise.race([opened.catch(() => false), closed.then(() => false)]), 'a WebSocket opens');
  const sent: string[] = [];
  if (own && prng.chance(0.8)) socket.send(JSON.stringify(FRAMES[0]));
  for (let n = prng.int(1, 8); n > 0 && socket.readyState === WebSocket.OPEN; n--) {
    const text = jsonText(prng, prng.pick(own ? FRAMES : ETCD));
    sent.push(text.slice(0, 200));
    const kind = prng.float();
    if (kind < 0.05) socket.send(randomBytes(prng, 400));
    else if (kind < 0.1) socket.ping(randomBytes(prng, 100));
    else socket.send(text);
  }
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, LINGER_MS))]);
  socket.close();
  const timer = setTimeout(() => socket.terminate(), 1000);
  const [code, reason] = await answered(closed, `a WebSocket closes after ${sent.join(' | ')}`);
  clearTimeout(timer);
  const what = `${own ? '' : `${etcdPath}: `}${sent.join(' | ')}`;
  if (!CLOSE_CODES.has(code)) throw new Violation(`closed with ${code} ${reason}: ${what}`);
  for (const text of received) tally.add(own ? checkOwn(text, what) : checkEtcd(text, what));
  tally.add(`closed ${code}`);
}

/** A frame of the watch protocol as the contract has it. */
function checkOwn(text: string, what: string): string {
  const frame = ownFrame(text, what);
  if (/INTERNAL|internal error/.test(text)) throw new Violation(`"${text.slice(0, 300)}" for ${what}`);
  if (frame.t === 'err') checkWords(JSON.stringify(frame.problem), what, what);
  return frame.t;
}

function ownFrame(text: string, what: string): ServerFrame {
  const parsed = parseServerFrame(text);
  if (!parsed.ok || parsed.frame === undefined) {
    const { pointer, expected } = parsed.ok ? { pointer: '/t', expected: 'a known frame' } : parsed;
    throw new Violation(`${pointer}: ${expected} expected in "${text.slice(0, 300)}" for ${what}`);
  }
  return parsed.frame;
}

/** An answer of etcd's gateway: a result, a response, or an error with its code. */
function checkEtcd(text: string, what: string): string {
  if (text === 'Not Found') return text;
  const bad = new Violation(`"${text.slice(0, 300)}" for ${what}`);
  let value: { result?: object; header?: object; code?: number; error?: { grpc_code?: number } | string };
  try {
    value = JSON.parse(text);
  } catch {
    throw bad;
  }
  const code = typeof value.error === 'object' ? value.error.grpc_code : value.code;
  if (code === 13 || (value.error !== undefined && typeof code !== 'number')) throw bad;
  if (value.error !== undefined) checkWords(text, what, what);
  if (code === undefined && value.result === undefined && value.header === undefined) throw bad;
  return code === undefined ? 'etcd answer' : `etcd code ${code}`;
}

/**
 * One that says nothing wrong: every ping is answered, and every write of the moment comes once, in order. Frames that
 * are unknown or odd, but allowed, come in between.
 */
async function session(prng: Prng, url: string, tally: Tally): Promise<void> {
  const prefix = `ws/${prng.uint64().toString(36)}/`;
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/watch`, 'watch.v1+json');
  const told: ServerFrame[] = [];
  let changed = (): void => {};
  socket.on('message', (data) => {
    told.push(ownFrame(String(data), 'a right session'));
    changed();
  });
  socket.on('error', () => {});
  const closed = once(socket, 'close').then(([code, reason]) => {
    throw new Violation(`closed with ${code} ${reason} after ${JSON.stringify(told).slice(-600)}`);
  });
  closed.catch(() => {});
  const until = async (done: () => boolean, what: string) => {
    const come = new Promise<void>((resolve) => {
      changed = () => done() && resolve();
      changed();
    });
    await answered(Promise.race([come, closed]), `${what}; got ${JSON.stringify(told).slice(-600)}`);
  };
  const send = (frame: Json) => socket.send(JSON.stringify(frame));
  await answered(Promise.race([once(socket, 'open'), closed]), 'a WebSocket opens');
  send({ t: 'hello', v: 1, client: 'fuzz' });
  send({ t: 'sub', id: 'a', sel: { kv: { prefix } }, snapshot: prng.chance(0.5), credit: 1000 });
  await until(() => told.some(({ t }) => t === 'subd'), 'subscribed');
  let pings = 0;
  const writes = prng.int(1, 12);
  for (let n = 0; n < writes; n++) {
    for (let m = prng.int(0, 3); m > 0; m--) {
      if (prng.chance(0.3)) send({ t: 'ping', n: ++pings });
      else send(aside(prng));
    }
    const response = await fetch(`${url}/v1/kv/${prefix}${n}`, { method: 'PUT', body: String(n) });
    await response.text();
    if (!response.ok) return socket.terminate(); // An alarm of another input is on.
  }
  const seen = () => told.flatMap((frame) => (frame.t === 'ev' && frame.id === 'a' ? [...frame.events] : []));
  await until(() => seen().length >= writes, `${writes} events`);
  const keys = seen().map((event) => ('entry' in event ? event.entry.key : event.type));
  const expected = Array.from({ length: writes }, (_, n) => `${prefix}${n}`);
  if (keys.join() !== expected.join()) throw new Violation(`${keys.join()} instead of ${expected.join()}`);
  await until(() => told.filter(({ t }) => t === 'pong').length === pings, `${pings} pongs`);
  tally.add('right sessions');
  socket.removeAllListeners('close');
  socket.terminate();
}

/** Allowed, and of no effect on the subscription that is watched. */
function aside(prng: Prng): Json {
  const id = prng.pick(['b', 'c', '~', 'x'.repeat(60)]);
  const rev = prng.pick([0, 1, 77, 2 ** 40]);
  return prng.pick<Json>([
    { t: 'ack', id: 'a', rev, credit: 1000 },
    { t: 'ack', id, rev },
    { t: 'unsub', id },
    { t: 'progress', id: 'a' },
    { t: 'progress' },
    { t: 'auth', token: 'x.1' },
  ]);
}

/** Behind a right handshake, bytes that are no frames. */
async function raw(prng: Prng, url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  socket.resume();
  await answered(once(socket, 'connect'), 'a connection');
  const head = [
    'GET /v1/watch HTTP/1.1',
    'Host: fuzz',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${Buffer.from(Uint8Array.from({ length: 16 }, () => prng.int(0, 256))).toString('base64')}`,
    'Sec-WebSocket-Protocol: watch.v1+json',
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  for (let n = prng.int(1, 4); n > 0; n--) socket.write(randomBytes(prng, 2000));
  await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
  socket.destroy();
}
