import { Exit, Failure } from './failure.ts';
import { parseSafeInt } from './line/flag.ts';

const INT64_MAX = 2n ** 63n - 1n;
const UINT64_MAX = 2n ** 64n - 1n;

/** A lease id in hexadecimal, signed 64 bits; `what` names the argument in the error. */
export function leaseIdOf(text: string, what: string): bigint {
  const parsed = hexOf(text, 'ParseInt', INT64_MAX);
  if (typeof parsed === 'bigint') return parsed;
  throw new Failure(`${what} (${parsed.reason}), expecting ID in Hex`, Exit.BAD_ARGS);
}

/** A member id in hexadecimal, unsigned 64 bits. */
export function memberIdOf(text: string): bigint {
  const parsed = hexOf(text, 'ParseUint', UINT64_MAX);
  if (typeof parsed === 'bigint') return parsed;
  throw new Failure(`bad member ID arg (${parsed.reason}), expecting ID in Hex`, Exit.BAD_ARGS);
}

/** As Go's ParseInt or ParseUint in base 16. */
export function hexOf(
  text: string,
  parser: 'ParseInt' | 'ParseUint',
  max: bigint = UINT64_MAX,
): bigint | { readonly reason: string } {
  const shown = `strconv.${parser}: parsing ${JSON.stringify(text)}`;
  const sign = parser === 'ParseInt' ? '[+-]?' : '';
  if (!new RegExp(`^${sign}[0-9a-fA-F]+$`).test(text)) return { reason: `${shown}: invalid syntax` };
  const magnitude = BigInt(`0x${text.replace(/^[+-]/, '')}`);
  if (magnitude > max) return { reason: `${shown}: value out of range` };
  return text.startsWith('-') ? -magnitude : magnitude;
}

/** A decimal argument; `refuse` makes the failure out of Go's reason. */
export function decimalOf(text: string, refuse: (reason: string) => Failure): number {
  const parsed = parseSafeInt(text);
  if (typeof parsed === 'number') return parsed;
  throw refuse(parsed.reason);
}
