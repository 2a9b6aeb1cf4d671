/** gRPC: messages, frames, headers and connections that are almost right. */
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
} from 'node:http2';
import { connect } from 'node:net';
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  fromBinary,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import type { Prng } from '@muster/base';
import { Election } from '../../packages/wire/src/gen/election_pb.js';
import { Health } from '../../packages/wire/src/gen/health_pb.js';
import { Lock } from '../../packages/wire/src/gen/lock_pb.js';
import { Auth, Cluster, KV, Lease, Maintenance, Watch } from '../../packages/wire/src/gen/rpc_pb.js';
import { joined, mutateBytes, randomBytes } from './mutate.ts';
import { answered, checkWords, type Open, Tally, Violation } from './target.ts';

/** Those would lock the fuzzer out, or leave a member behind that never comes. */
const LEFT_OUT = new Set(['AuthEnable', 'MemberAdd']);
const METHODS: readonly DescMethod[] = [KV, Watch, Lease, Cluster, Maintenance, Auth, Lock, Election, Health]
  .flatMap((service) => service.methods as readonly DescMethod[])
  .filter(({ name }) => !LEFT_OUT.has(name));

/** These wait for something to happen: they are left after a moment. */
const WAITS = new Set(['Watch', 'LeaseKeepAlive', 'Lock', 'Campaign', 'Observe', 'Snapshot']);
const PATIENCE_MS = 60;
const INTERNAL = '13';
/** HTTP/2 connections are used for about so many calls, and then left. */
const CALLS_EACH = 200;

export const openGrpc: Open = ({ clientUrl }) => {
  const tally = new Tally();
  const connections = new Connections(clientUrl);
  return {
    name: 'grpc',
    tally,
    async run(prng) {
      if (prng.chance(0.05)) return rawConnection(prng, clientUrl);
      const connection = connections.take(prng.chance(1 / CALLS_EACH));
      try {
        tally.add(await oneCall(prng, connection.session));
      } finally {
        connections.release(connection);
      }
    },
    close: () => connections.close(),
  };
};

type Connection = { readonly session: ClientHttp2Session; calls: number };

/** One for all calls; now and then another, and the one before is closed after its last call. */
class Connections {
  readonly #url: string;
  #current: Connection | undefined;

  constructor(url: string) {
    this.#url = url;
  }

  take(fresh: boolean): Connection {
    const known = this.#current;
    if (known === undefined || fresh || known.session.closed || known.session.destroyed) {
      const session = connectHttp2(this.#url);
      session.on('error', () => {});
      this.#current = { session, calls: 0 };
      if (known?.calls === 0) known.session.close();
    }
    const connection = this.#current as Connection;
    connection.calls++;
    return connection;
  }

  release(connection: Connection): void {
    connection.calls--;
    if (connection.calls === 0 && connection !== this.#current) connection.session.close();
  }

  close(): void {
    this.#current?.session.destroy();
  }
}

/** What it came to. */
async function oneCall(prng: Prng, session: ClientHttp2Session): Promise<string> {
  const method = prng.pick(METHODS);
  const path = prng.chance(0.03)
    ? `/${prng.pick(['foo.Bar', method.parent.typeName, ''])}/Nothing`
    : `/${method.parent.typeName}/${method.name}`;
  const headers = headersOf(prng, path);
  const body = bodyOf(prng, method);
  const what = `${JSON.stringify(headers)} ${Buffer.from(body).toString('hex').slice(0, 400)}`;
  const stream = session.request(headers, { endStream: false });
  const outcome = endOf(stream);
  if (prng.chance(0.2) && body.length > 1) {
    const at = prng.int(1, body.length);
    stream.write(body.subarray(0, at));
    stream.write(body.subarray(at));
  } else stream.write(body);
  const leave = WAITS.has(method.name) || method.methodKind !== 'unary' || prng.chance(0.1);
  if (!leave || prng.chance(0.5)) stream.end();
  let left = false;
  const timer = leave
    ? setTimeout(() => {
        left = true;
        stream.close(constants.NGHTTP2_CANCEL);
      }, PATIENCE_MS)
    : undefined;
  const end = await answered(outcome, what);
  clearTimeout(timer);
  if (left && end.status === undefined) return 'left';
  check(end, method, headers, body, what);
  return `${end.http === 200 ? '' : `HTTP ${end.http} `}code ${end.status}${end.status === '2' ? ` ${end.message.slice(0, 30)}` : ''}`;
}

/** Messages of code 13 that are not a fault of the server. */
const MALFORMED = /unmarshalling|compress|payload|message|malformed|EOF$/;

function check(
  end: End,
  method: DescMethod,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  what: string,
): void {
  const { http, status, message, answer } = end;
  const told = `HTTP ${http}, code ${status} "${message}", reset ${end.reset}`;
  // grpc-go ends those in the same way.
  if (headers[':method'] !== 'POST' && end.reset === constants.NGHTTP2_PROTOCOL_ERROR) return;
  if (http === undefined || http >= 500) throw new Violation(`${told}: ${what}`);
  if (http !== 200) return;
  if (!/^(?:\d|1[0-6])$/.test(status ?? '')) throw new Violation(`${told}: ${what}`);
  if (status === INTERNAL && !MALFORMED.test(message)) throw new Violation(`${told}: ${what}`);
  checkWords(message, `${JSON.stringify(headers)} ${Buffer.from(body).toString('latin1')}`, what);
  if (status !== '0' || headers[':path']?.endsWith('/Nothing') || method.methodKind !== 'unary') return;
  try {
    fromBinary(method.output, onlyMessage(answer));
  } catch (error) {
    const hex = answer.toString('hex').slice(0, 400);
    throw new Violation(`${String(error)}: the answer ${hex} for ${what}`, { cause: error });
  }
}

/** Code 0 of a unary call comes with exactly one whole message. */
function onlyMessage(answer: Buffer): Uint8Array {
  const length = answer.length < 5 ? -1 : answer.readUInt32BE(1);
  if (answer[0] !== 0 || answer.length !== 5 + length) throw new Error('not one message');
  return answer.subarray(5);
}

type End = {
  readonly http: number | undefined;
  readonly status: string | undefined;
  readonly message: string;
  /** HTTP/2's error code; 0 is none. */
  readonly reset: number;
  readonly answer: Buffer;
};

function endOf(stream: ClientHttp2Stream): Promise<End> {
  let http: number | undefined;
  let status: string | undefined;
  let message = '';
  const note = (headers: Readonly<Record<string, unknown>>) => {
    if (headers[':status'] !== undefined) http = Number(headers[':status']);
    if (headers['grpc-status'] !== undefined) status = String(headers['grpc-status']);
    if (headers['grpc-message'] !== undefined) message = decodeURIComponent(String(headers['grpc-message']));
  };
  stream.on('response', note);
  stream.on('trailers', note);
  stream.on('error', () => {});
  const pieces: Buffer[] = [];
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  return new Promise((resolve) => {
    stream.once('close', () => {
      resolve({ http, status, message, reset: stream.rstCode, answer: Buffer.concat(pieces) });
    });
  });
}

function headersOf(prng: Prng, path: string): Record<string, string> {
  const headers: Record<string, string> = {
    ':method': prng.chance(0.98) ? 'POST' : prng.pick(['GET', 'PUT']),
    ':path': path,
    'content-type': prng.chance(0.95)
      ? 'application/grpc'
      : prng.pick(['application/grpc+proto', 'application/grpc+json', 'text/plain', 'application/grpcx', '']),
    te: 'trailers',
  };
  const odd = { 'grpc-timeout': ['1S', '0n', '99999999H', '123456789S', '-1S', 'x', ''] } as const;
  if (prng.chance(0.2)) headers['grpc-timeout'] = prng.pick(odd['grpc-timeout']);
  if (prng.chance(0.05)) headers['grpc-encoding'] = prng.pick(['gzip', 'identity', 'snappy', '']);
  if (prng.chance(0.05))
    headers.token = prng.pick(['x.1', '', 'é'.normalize('NFD').replace(/[^\x20-\x7e]/g, '')]);
  if (prng.chance(0.1)) headers.hasleader = prng.pick(['true', 'false', 'x']);
  return headers;
}

function bodyOf(prng: Prng, method: DescMethod): Uint8Array {
  const count = method.methodKind === 'unary' ? (prng.chance(0.97) ? 1 : prng.int(0, 3)) : prng.int(1, 5);
  const framed = Array.from({ length: count }, () => {
    const message = messageOf(prng, method.input);
    return frame(prng, prng.chance(0.7) ? message : mutateBytes(prng, message));
  });
  const body = joined(...framed);
  return prng.chance(0.05) ? mutateBytes(prng, body) : body;
}

/** The five bytes before a message: its flag and length, now and then wrong. */
function frame(prng: Prng, message: Uint8Array): Uint8Array {
  const head = Buffer.alloc(5);
  head.writeUInt8(prng.chance(0.98) ? 0 : prng.pick([1, 2, 255]));
  const wrong = prng.pick([0, 1, message.length + 1, 2 ** 31, 2 ** 32 - 1, 3 * 2 ** 20]);
  head.writeUInt32BE(prng.chance(0.97) ? message.length : wrong, 1);
  return joined(head, message);
}

function messageOf(prng: Prng, desc: DescMessage): Uint8Array {
  return toBinary(desc, filled(prng, desc, 3).message);
}

function filled(prng: Prng, desc: DescMessage, depth: number): ReflectMessage {
  const target = reflect(desc, create(desc));
  for (const field of desc.fields) {
    if (prng.chance(0.6)) setField(prng, target, field, depth);
  }
  return target;
}

function setField(prng: Prng, target: ReflectMessage, field: DescField, depth: number): void {
  const inner = (message: DescMessage) => filled(prng, message, depth - 1);
  if (field.fieldKind === 'message') {
    if (depth > 0) target.set(field, inner(field.message));
  } else if (field.fieldKind === 'enum') target.set(field, prng.chance(0.9) ? prng.int(0, 4) : 99);
  else if (field.fieldKind === 'scalar') target.set(field, scalarOf(prng, field.scalar));
  else if (field.fieldKind === 'list' && depth > 0) {
    const list = target.get(field);
    for (let n = prng.int(0, 4); n > 0; n--) {
      if (field.listKind === 'message') list.add(inner(field.message));
      else if (field.listKind === 'scalar') list.add(scalarOf(prng, field.scalar));
      else list.add(prng.int(0, 4));
    }
  }
}

const INTEGERS = [0n, 1n, -1n, 5n, 77n, 2n ** 31n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)];

function scalarOf(prng: Prng, type: ScalarType): unknown {
  switch (type) {
    case ScalarType.BOOL:
      return prng.chance(0.5);
    case ScalarType.STRING:
      return prng.pick(['', 'ann', 'reader', '3.5.0', 'http', '\u{1f4a3}', 'x'.repeat(3000)]);
    case ScalarType.BYTES:
      return prng.chance(0.5) ? Buffer.from(prng.pick(['', 'fuzz', '\0', 'g'])) : randomBytes(prng, 200);
    case ScalarType.UINT32:
    case ScalarType.INT32:
      return prng.int(0, 1000);
    case ScalarType.UINT64:
      return BigInt.asUintN(64, prng.pick(INTEGERS));
    default:
      return prng.pick(INTEGERS);
  }
}

/** HTTP/2's preface, or almost, and then bytes that are no frames, or frames that make no sense. */
async function rawConnection(prng: Prng, url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  socket.resume();
  await answered(once(socket, 'connect'), 'a connection');
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(prng.chance(0.7) ? preface : mutateBytes(prng, preface));
  if (prng.chance(0.7)) socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
  for (let n = prng.int(0, 5); n > 0; n--) {
    const payload = randomBytes(prng, 300);
    const head = [0, payload.length >> 8, payload.length & 255, prng.int(0, 12), prng.int(0, 256)];
    const stream = [0, 0, 0, prng.pick([0, 1, 2, 3])];
    socket.write(prng.chance(0.8) ? joined(Buffer.from([...head, ...stream]), payload) : payload);
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
  socket.destroy();
}
