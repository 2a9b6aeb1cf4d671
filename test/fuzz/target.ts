import type { Prng } from '@muster/base';
import type { MusterMember } from '../support/muster.ts';

/** One way into a member. */
export type Target = {
  readonly name: string;
  /** One input, derived from `prng` alone. Throws `Violation` when the answer is none that a client may get. */
  run(prng: Prng): Promise<void>;
  close(): void;
};

export type Open = (member: MusterMember) => Promise<Target> | Target;

/** What no input may bring about. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** An answer to what is complete must come within this. */
const ANSWER_MS = 10_000;

/** Rejects with a `Violation` when `promise` takes too long. */
export async function answered<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Violation(`no answer in ${ANSWER_MS} ms: ${what}`)), ANSWER_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
