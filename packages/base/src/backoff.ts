import type { Prng } from './prng.ts';

/** Bounds of a backoff, in milliseconds. */
export type BackoffOptions = { readonly firstMs: number; readonly maxMs: number; readonly factor?: number };

/** Full-jitter exponential backoff: a delay in [firstMs / 2, min(maxMs, firstMs * factor^attempt)]. Pure. */
export function backoffDelayMs(options: BackoffOptions, attempt: number, prng: Prng): number {
  const factor = options.factor ?? 2;
  const cap = Math.min(options.maxMs, options.firstMs * factor ** Math.min(attempt, 64));
  const floor = Math.min(cap, options.firstMs / 2);
  return Math.round(floor + prng.float() * (cap - floor));
}
