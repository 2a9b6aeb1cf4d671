/** gRPC: messages, frames, headers and connections that are almost right. */
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
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
import { answered, type Open, Violation } from './target.ts';

/** Those would lock the fuzzer out, or leave a member behind that never comes. */
const LEFT_OUT = new Set(['AuthEnable', 'MemberAdd', 'Snapshot']);
const METHODS: readonly DescMethod[] = [KV, Watch, Lease, Cluster, Maintenance, Auth, Lock, Election, Health]
  .flatMap((service) => service.methods as readonly DescMethod[])
  .filter(({ name }) => !LEFT_OUT.has(name));

/** These wait for something to happen: they are left after a moment. */
const WAITS = new Set(['Watch', 'LeaseKeepAlive', 'Lock', 'Campaign', 'Observe']);
const PATIENCE_MS = 60;
const INTERNAL = '13';

export const openGrpc: Open = ({ clientUrl }) => {
  let session: ClientHttp2Session | undefined;
  return {
    name: 'grpc',
    async run(prng) {
      if (prng.chance(0.05)) return rawConnection(prng, clientUrl);
      if (session === undefined || session.closed || session.destroyed) {
        session = connectHttp2(clientUrl);
        session.on('error', () => {});
        await answered(once(session, 'connect'), 'an HTTP/2 connection');
      }
      await oneCall(prng, session);
    },
    close: () => session?.destroy(),
  };
};

async function oneCall(prng: Prng, session: ClientHttp2Session): Promise<void> {
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
  const timer = leave ? setTimeout(() => stream.close(), PATIENCE_MS) : undefined;
  const end = await answered(outcome, what);
  clearTimeout(timer);
  if (end.reset || leave) return;
  const status = end.status;
  if (status === undefined && end.http === 200) throw new Violation(`ended without a status: ${what}`);
  if (status === INTERNAL && !/unmarshalling|compress|payload|message|malformed|EOF$/.test(end.message)) {
    throw new Violation(`${status} ${end.message}: ${what}`);
  }
}

type End = {
  readonly http: number | undefined;
  readonly status: string | undefined;
  readonly message: string;
  readonly reset: boolean;
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
  stream.resume();
  return new Promise((resolve) => {
    stream.once('close', () => resolve({ http, status, message, reset: stream.rstCode !== 0 }));
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
    return frame(prng, prng.chance(0.5) ? message : mutateBytes(prng, message));
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
