/** WebSockets: the watch protocol of /v1 and etcd's calls over /v3, by wrong frames. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Prng } from '@muster/base';
import { WebSocket } from 'ws';
import { type Json, jsonText, randomBytes } from './mutate.ts';
import { answered, type Open, Violation } from './target.ts';

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
const INTERNAL_ERROR = 1011;

export const openWebSocket: Open = ({ clientUrl }) => {
  const url = clientUrl.replace('http', 'ws');
  return {
    name: 'websocket',
    run: (prng) => (prng.chance(0.2) ? raw(prng, clientUrl) : frames(prng, url)),
    close: () => {},
  };
};

async function frames(prng: Prng, url: string): Promise<void> {
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
  const broken = received.find((text) => /INTERNAL|internal error/.test(text));
  if (code === INTERNAL_ERROR || broken !== undefined) {
    throw new Violation(`closed with ${code} ${reason}, ${broken ?? 'no error'}: ${sent.join(' | ')}`);
  }
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
