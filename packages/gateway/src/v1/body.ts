import { concatBytes, EMPTY_BYTES } from '@muster/base';
import { KvError } from '@muster/contract';

/** A request's body, refused as soon as it is known to be larger than `limit` bytes. */
export async function readBody(request: Request, limit: number): Promise<Uint8Array> {
  const length = request.headers.get('content-length');
  if (length !== null && Number(length) > limit) throw tooLarge(limit);
  if (length !== null) {
    const bytes = new Uint8Array(await request.arrayBuffer());
    if (bytes.length > limit) throw tooLarge(limit);
    return bytes;
  }
  if (!request.body) return EMPTY_BYTES;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > limit) throw tooLarge(limit);
    chunks.push(chunk);
  }
  return concatBytes(...chunks);
}

function tooLarge(limit: number): KvError {
  return new KvError('PAYLOAD_TOO_LARGE', { detail: `the body is larger than ${limit} bytes` });
}
