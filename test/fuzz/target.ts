import type { Prng } from '@muster/base';
import type { MusterMember } from '../support/muster.ts';

/** One way into a member. */
export type Target = {
  readonly name: string;
  /** How often inputs came to what end, to see that they get further than the first check. */
  readonly tally?: Tally;
  /** One input, derived from `prng` alone. Throws `Violation` when the answer is none that a client may get. */
  run(prng: Prng): Promise<void>;
  close(): void;
};

export type Open = (member: MusterMember) => Promise<Target> | Target;

/** What no input may bring about. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

const SHOWN = 40;

/** Counts by word. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(word: string): void {
    this.#counts.set(word, (this.#counts.get(word) ?? 0) + 1);
  }

  /** The most frequent first; not those that hardly ever were. */
  toString(): string {
    const sorted = [...this.#counts].sort(([, a], [, b]) => b - a).slice(0, SHOWN);
    return sorted.map(([word, count]) => `${word} ${count}`).join(', ');
  }
}

const OF_THE_RUNTIME =
  /\b(?:TypeError|RangeError|ReferenceError|SyntaxError|AssertionFailed)\b|is not a function|Cannot (?:read|set|mix)|\bundefined\b|\[object |\bNaN\b|node:internal|\bat .{1,80}\.[jt]s:\d/;

/** Throws when a text for clients tells of the program's own faults. `echoed` is what the client had said itself. */
export function checkWords(text: string, echoed: string, what: string): void {
  const found = OF_THE_RUNTIME.exec(text)?.[0];
  if (found !== undefined && !echoed.includes(found))
    throw new Violation(`"${text.slice(0, 300)}" for ${what}`);
}

/** An answer to what is complete must come within this. */
export const ANSWER_MS = 10_000;

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
