import { GrpcCode, KvError } from '@muster/contract';
import { ProtoError } from '../convert/proto-reader.ts';

/** How a call ended, as the wire says it. */
export class GrpcStatus extends Error {
  override readonly name = 'GrpcStatus';
  readonly code: number;

  constructor(code: number, text: string) {
    super(text);
    this.code = code;
  }
}

/** Any thrown value as the status a client sees. */
export function statusOf(thrown: unknown): GrpcStatus {
  if (thrown instanceof GrpcStatus) return thrown;
  const error = KvError.from(thrown);
  const { code, detail, row } = error;
  const text = code === 'BAD_REQUEST' && detail !== undefined ? detail : error.message;
  return new GrpcStatus(row.grpc, text);
}

/** As `statusOf`, for what the decoder of the only request of a call threw. */
export function requestStatus(thrown: unknown): GrpcStatus {
  if (!(thrown instanceof ProtoError)) return statusOf(thrown);
  return new GrpcStatus(GrpcCode.INTERNAL, `grpc: error unmarshalling request: ${thrown.message}`);
}

/** As `statusOf`, for what the decoder of one of many requests threw. */
export function messageStatus(thrown: unknown): GrpcStatus {
  if (!(thrown instanceof ProtoError)) return statusOf(thrown);
  return new GrpcStatus(
    GrpcCode.INTERNAL,
    `grpc: failed to unmarshal the received message: ${thrown.message}`,
  );
}

/** A status text as a header: UTF-8 with everything but printable ASCII, and the percent sign, escaped. */
export function percentEncoded(text: string): string {
  if (PLAIN.test(text)) return text;
  let encoded = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== PERCENT;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
const PLAIN = /^[\x20-\x24\x26-\x7e]*$/;
const PERCENT = 0x25;
