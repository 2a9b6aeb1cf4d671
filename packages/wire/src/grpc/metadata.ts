/** What the headers of a call say besides its method. */
import type { IncomingHttpHeaders } from 'node:http2';
import { GrpcCode } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import { GrpcStatus } from './grpc-status.ts';

const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** Throws `GrpcStatus` for headers that no call can have. */
export function callOptionsOf(
  headers: IncomingHttpHeaders,
  certificateName: string | undefined,
  source: string | undefined,
): { -readonly [K in keyof CallOptions]: CallOptions[K] } {
  const encoding = headers['grpc-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    const text = `grpc: Decompressor is not installed for grpc-encoding ${JSON.stringify(encoding)}`;
    throw new GrpcStatus(GrpcCode.UNIMPLEMENTED, text);
  }
  const options: { -readonly [K in keyof CallOptions]: CallOptions[K] } = {};
  const timeout = headers['grpc-timeout'];
  if (timeout !== undefined) options.timeoutMs = timeoutMsOf(String(timeout));
  const token = tokenOf(headers);
  if (token !== undefined) options.token = token;
  if (headers.hasleader === 'true') options.requireLeader = true;
  if (certificateName !== undefined) options.certificateName = certificateName;
  if (source !== undefined) options.source = source;
  const version = headers['client-api-version'];
  if (version !== undefined && !isUtf8(String(version))) {
    throw new GrpcStatus(GrpcCode.INVALID_ARGUMENT, 'etcdserver: invalid client api version');
  }
  return options;
}

/** Clients of etcd send the token bare, under either name; web clients put a scheme before it. */
function tokenOf(headers: IncomingHttpHeaders): string | undefined {
  const token = headers.token ?? headers.authorization;
  if (token === undefined) return undefined;
  return first(token).replace(/^Bearer +/i, '');
}

const first = (value: string | string[]): string => (typeof value === 'string' ? value : (value[0] ?? ''));

function timeoutMsOf(text: string): number {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text);
  if (match === null)
    throw new GrpcStatus(GrpcCode.INTERNAL, `malformed grpc-timeout: ${JSON.stringify(text)}`);
  return Number(match[1]) * (UNIT_MS[match[2] as string] as number);
}

/** Node hands header bytes over as Latin-1. */
function isUtf8(header: string): boolean {
  if (ASCII.test(header)) return true;
  try {
    strict.decode(Buffer.from(header, 'latin1'));
    return true;
  } catch {
    return false;
  }
}
const ASCII = /^[\x20-\x7e]*$/;
const strict = new TextDecoder('utf-8', { fatal: true });
