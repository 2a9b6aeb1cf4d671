/** JSON nested deeper than this is not walked: checking and writing it would take the whole stack. */
export const JSON_DEPTH_MAX = 256;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** How deep the arrays and objects of JSON text in UTF-8 go. */
export function jsonDepth(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let inText = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    if (inText) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) {
      inText = true;
      // Both kinds of bracket differ in this one bit only.
    } else if ((byte | 0x20) === 0x7b) {
      deepest = Math.max(deepest, ++depth);
    } else if ((byte | 0x20) === 0x7d) {
      depth--;
    }
  }
  return deepest;
}
