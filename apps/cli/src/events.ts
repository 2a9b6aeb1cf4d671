import type { CallOptions, EtcdApi, WatchHandle, WatchRequest, WatchResponse } from '@muster/kv';

/** Messages that wait for a slow consumer before the watch is asked to hold back. */
const QUEUE_MAX = 64;

/** A watch as something to iterate over; ends by the signal, or after `canceled`. A slow reader holds it back. */
export async function* watchMessages(
  api: EtcdApi,
  request: WatchRequest,
  signal: AbortSignal,
  options: CallOptions = {},
  started?: (handle: WatchHandle) => void,
): AsyncGenerator<WatchResponse> {
  const queue: WatchResponse[] = [];
  let wake: (() => void) | undefined;
  const arrived = () => {
    wake?.();
    wake = undefined;
  };
  const sink = (response: WatchResponse) => {
    queue.push(response);
    arrived();
    return queue.length < QUEUE_MAX;
  };
  const handle = api.watch(request, sink, options);
  signal.addEventListener('abort', arrived, { once: true });
  started?.(handle);
  try {
    while (!signal.aborted) {
      const next = queue.shift();
      if (next) {
        if (queue.length === QUEUE_MAX - 1) handle.resume();
        yield next;
        if (next.type === 'canceled') return;
      } else {
        handle.resume();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    signal.removeEventListener('abort', arrived);
    handle.cancel();
  }
}
