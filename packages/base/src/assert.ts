/** A broken invariant. It is never expected and never handled: the process stops with both values printed. */
export class AssertionFailed extends Error {
  override name = 'AssertionFailed';
}

/** Always on, in production too. `detail` is a function where building the message costs something. */
export function assert(condition: unknown, detail: string | (() => string)): asserts condition {
  if (!condition) throw new AssertionFailed(typeof detail === 'string' ? detail : detail());
}

/** For the default branch of a switch over a closed union. */
export function assertNever(value: never, what: string): never {
  throw new AssertionFailed(`unexpected ${what}: ${String(value)}`);
}
