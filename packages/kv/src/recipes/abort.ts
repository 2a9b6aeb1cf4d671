import { KvError } from '@muster/contract';
import type { CallOptions } from '../api.ts';

/** Why a caller gave up: its signal's reason where that is one of the table, such as a deadline. */
export function reasonOf(signal: AbortSignal): KvError {
  return signal.reason instanceof KvError ? signal.reason : new KvError('CANCELED');
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw reasonOf(signal);
}

/** Calls back once, at once where the signal has fired already. Returns how to stop listening. */
export function onAbort(signal: AbortSignal | undefined, run: (reason: KvError) => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    run(reasonOf(signal));
    return () => {};
  }
  const listener = (): void => run(reasonOf(signal));
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/** The options for a call whose outcome must be known, whether or not the caller still waits. */
export function withoutSignal({ signal: _, ...rest }: CallOptions): CallOptions {
  return rest;
}
