import type { ClientReadableStream, ServiceError } from '@grpc/grpc-js';
import type { CallOptions } from '@muster/kv';
import type { Caller } from './caller.ts';
import type { EndpointChannel, Sending } from './channel.ts';
import { failureOf } from './failure.ts';

type Open<M> = (channel: EndpointChannel, sending: Sending) => ClientReadableStream<M>;

/**
 * The answers of one server stream. It is opened when the first is asked for, on another endpoint if need be until one
 * has come, and read no faster than it is consumed. `return()` cancels it. Throws `KvError`s.
 */
export async function* streamed<T>(
  caller: Caller,
  options: CallOptions | undefined,
  open: Open<T>,
): AsyncGenerator<T, void, undefined> {
  const { stream, first, iterator } = await caller.attempt('repeatable', options, (channel, sending) =>
    opened(open(channel, sending), options?.signal),
  );
  const { signal } = options ?? {};
  const abort = () => stream.cancel();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    for (let next = first; !next.done; next = await iterator.next()) yield next.value;
  } catch (error) {
    throw asServiceFailure(error);
  } finally {
    signal?.removeEventListener('abort', abort);
    stream.cancel();
  }
}

async function opened<M>(stream: ClientReadableStream<M>, signal: AbortSignal | undefined) {
  const abort = () => stream.cancel();
  signal?.addEventListener('abort', abort, { once: true });
  // An error after the last read, as of a cancel, has no reader.
  stream.on('error', () => {});
  const iterator = stream[Symbol.asyncIterator]() as AsyncIterator<M, undefined>;
  try {
    return { stream, iterator, first: await iterator.next() };
  } catch (error) {
    throw failureOf(error as ServiceError);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

function asServiceFailure(error: unknown): unknown {
  const isStatus = error instanceof Error && 'code' in error && 'details' in error;
  return isStatus ? failureOf(error as ServiceError).toKvError() : error;
}
