export { AssertionFailed, assert, assertNever } from './assert.ts';
export { type BackoffOptions, backoffDelayMs } from './backoff.ts';
export {
  binaryString,
  compareBytes,
  concatBytes,
  EMPTY_BYTES,
  equalBytes,
  fromBinaryString,
  hex,
  prefixEnd,
  startsWithBytes,
  utf8,
  utf8Text,
  utf8TextOrUndefined,
} from './bytes.ts';
export { type Clock, ManualClock, type Timer } from './clock.ts';
export { crc32c } from './crc32c.ts';
export { type Deferred, deferred } from './deferred.ts';
export { nearest } from './nearest.ts';
export { Prng } from './prng.ts';
