import type { CallOptions } from '@muster/kv';
import type { JsonValue } from './json-value.ts';

export type UnaryRoute = {
  readonly type: 'unary';
  /** The answer's JSON. Throws or rejects with what `StatusError.from` takes. */
  readonly call: (value: JsonValue | undefined, options: CallOptions) => Promise<string>;
  /** The call may wait for others without end: it hears of its client's leaving and of its deadline by a signal. */
  readonly blocks?: true;
  /** The call counts by where it comes from: its options want the client's address. */
  readonly wantsSource?: true;
};

export function unary(call: UnaryRoute['call']): UnaryRoute {
  return { type: 'unary', call };
}
