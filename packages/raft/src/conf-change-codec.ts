import type { ConfChange, ConfChangeStep } from './membership.ts';

const VERSION = 1;
const HEADER_BYTES = 3;
const STEP_BYTES = 9;
const STEP_TYPES = ['addVoter', 'addLearner', 'remove'] as const;

/** More steps than any sane group has members. */
const MAX_CONF_CHANGE_STEPS = 64;

/** Bytes that are not a membership change. */
export class ConfChangeError extends Error {
  override readonly name = 'ConfChangeError';
}

/** version u8, count u16, then per step type u8 and id u64 (big endian); the rest is the context. */
export function encodeConfChange(change: ConfChange): Uint8Array {
  const { steps, context } = change;
  if (steps.length > MAX_CONF_CHANGE_STEPS) {
    throw new ConfChangeError(`${steps.length} steps, expected at most ${MAX_CONF_CHANGE_STEPS}`);
  }
  const out = new Uint8Array(HEADER_BYTES + steps.length * STEP_BYTES + context.length);
  const view = new DataView(out.buffer);
  view.setUint8(0, VERSION);
  view.setUint16(1, steps.length);
  let at = HEADER_BYTES;
  for (const step of steps) {
    view.setUint8(at, STEP_TYPES.indexOf(step.type));
    view.setBigUint64(at + 1, step.node);
    at += STEP_BYTES;
  }
  out.set(context, at);
  return out;
}

/** Throws `ConfChangeError` on anything that `encodeConfChange` does not write. */
export function decodeConfChange(bytes: Uint8Array): ConfChange {
  if (bytes.length < HEADER_BYTES) throw new ConfChangeError(`${bytes.length} bytes, expected at least 3`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint8(0) !== VERSION) {
    throw new ConfChangeError(`version ${view.getUint8(0)}, expected ${VERSION}`);
  }
  const count = view.getUint16(1);
  const end = HEADER_BYTES + count * STEP_BYTES;
  if (count > MAX_CONF_CHANGE_STEPS || end > bytes.length) {
    throw new ConfChangeError(`${count} steps in ${bytes.length} bytes`);
  }
  const steps: ConfChangeStep[] = [];
  for (let at = HEADER_BYTES; at < end; at += STEP_BYTES) {
    const type = STEP_TYPES[view.getUint8(at)];
    if (type === undefined) throw new ConfChangeError(`step type ${view.getUint8(at)}, expected 0, 1 or 2`);
    steps.push({ type, node: view.getBigUint64(at + 1) });
  }
  return { steps, context: bytes.slice(end) };
}
