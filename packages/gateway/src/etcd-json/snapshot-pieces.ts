import type { SnapshotChunk } from '@muster/kv';

/** Bytes of the file in one message, as etcd sends it. */
const PIECE_BYTES = 32 * 1024;

/** A snapshot in etcd's pieces, whatever the size of the chunks that it comes in. */
export async function* snapshotPieces(chunks: AsyncIterable<SnapshotChunk>): AsyncGenerator<SnapshotChunk> {
  for await (const chunk of chunks) {
    const { blob, remainingBytes } = chunk;
    for (let at = 0; at < blob.length; at += PIECE_BYTES) {
      const piece = blob.subarray(at, at + PIECE_BYTES);
      yield { ...chunk, blob: piece, remainingBytes: remainingBytes + blob.length - at - piece.length };
    }
  }
}
