import { KvError } from '@muster/contract';
import type { EngineView, Steps } from '@muster/kv';
import type { Member } from './member.ts';

/** Longest time that hashing keeps the event loop, in milliseconds. */
const SLICE_MS = 2;

/**
 * Hashes a view of this member's engine, a slice a turn: the view stays as it is while writes and compactions go on.
 * Rejects with a `KvError`.
 */
export async function hashed<T>(
  member: Pick<Member, 'engine' | 'clock'>,
  stepsOf: (view: EngineView) => Steps<T>,
  signal?: AbortSignal,
): Promise<T> {
  const { clock } = member;
  const view = await new Promise<EngineView>((resolve, reject) =>
    member.engine.view((error, opened) => (opened ? resolve(opened) : reject(KvError.from(error)))),
  );
  const steps = stepsOf(view);
  try {
    for (let sliceStart = clock.nowMs(); ; ) {
      const step = steps.next();
      if (step.done) return step.value;
      if (clock.nowMs() - sliceStart < SLICE_MS) continue;
      if (signal?.aborted) throw new KvError('CANCELED');
      await new Promise<void>((resolve) => clock.defer(resolve));
      sliceStart = clock.nowMs();
    }
  } catch (error) {
    throw KvError.from(error);
  } finally {
    steps.return?.(undefined as never);
    view.close();
  }
}
