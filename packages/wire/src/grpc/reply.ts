/** The answering side of one HTTP/2 stream. */
import { constants, type ServerHttp2Stream, type ServerStreamResponseOptions } from 'node:http2';
import { type GrpcStatus, percentEncoded } from './grpc-status.ts';

const HEADERS = { ':status': 200, 'content-type': 'application/grpc' } as const;
const OK_TRAILERS = { 'grpc-status': '0', 'grpc-message': '' } as const;
const WITH_TRAILERS: ServerStreamResponseOptions = { waitForTrailers: true };
const WITHOUT_BODY: ServerStreamResponseOptions = { endStream: true };

const statusFields = (status: GrpcStatus) => ({
  'grpc-status': String(status.code),
  'grpc-message': percentEncoded(status.message),
});

/** Begins an answer that `finish` or a last `end` of the stream concludes. */
export function begin(stream: ServerHttp2Stream): void {
  stream.respond(HEADERS, WITH_TRAILERS);
}

/** Answers with one message. */
export function answer(stream: ServerHttp2Stream, frame: Buffer): void {
  begin(stream);
  finish(stream, undefined, frame);
}

/** Ends an answer that has begun. */
export function finish(stream: ServerHttp2Stream, status?: GrpcStatus, last?: Buffer): void {
  stream.on('wantTrailers', () => {
    if (stream.destroyed) return;
    stream.sendTrailers(status === undefined ? OK_TRAILERS : statusFields(status));
    stopInput(stream);
  });
  if (last === undefined) stream.end();
  else stream.end(last);
}

/** Answers with an error and nothing else: one HEADERS frame. */
export function refuse(stream: ServerHttp2Stream, status: GrpcStatus): void {
  if (stream.destroyed || stream.closed) return;
  stream.respond({ ...HEADERS, ...statusFields(status) }, WITHOUT_BODY);
  stopInput(stream);
}

/**
 * Tells a client that is still sending that nothing of it is wanted any more. Not in this turn: the end of what it
 * sent may lie unread beside the message that is being answered, and the reset would go out instead of the trailers.
 */
function stopInput(stream: ServerHttp2Stream): void {
  if (stream.readableEnded) return;
  setImmediate(() => {
    if (!stream.readableEnded && !stream.destroyed) stream.close(constants.NGHTTP2_NO_ERROR);
  });
}
