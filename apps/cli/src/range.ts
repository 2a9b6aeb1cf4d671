import { badArgs } from './failure.ts';

const FROM_HERE = Uint8Array.of(0);

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The first key behind all those that begin with `key`; one zero byte, "to the end", where there is none. */
export function prefixEnd(key: Uint8Array): Uint8Array {
  for (let i = key.length - 1; i >= 0; i--) {
    const byte = key[i] as number;
    if (byte < 0xff) {
      const end = key.slice(0, i + 1);
      end[i] = byte + 1;
      return end;
    }
  }
  return FROM_HERE;
}

export type KeyRange = { readonly key: Uint8Array; readonly rangeEnd?: Uint8Array };

/** etcdctl's way from arguments and --prefix, --from-key to a range. An empty key then means the first one. */
export function rangeOf(
  args: readonly string[],
  flags: { readonly prefix: boolean; readonly 'from-key': boolean },
): KeyRange {
  if (flags.prefix && flags['from-key']) {
    throw badArgs('`--prefix` and `--from-key` cannot be set at the same time, choose one');
  }
  const [first = '', end] = args;
  if (end !== undefined && (flags.prefix || flags['from-key'])) {
    throw badArgs('too many arguments, only accept one argument when `--prefix` or `--from-key` is set');
  }
  const key = bytesOf(first);
  if (flags.prefix || flags['from-key']) {
    if (key.length === 0) return { key: FROM_HERE, rangeEnd: FROM_HERE };
    return { key, rangeEnd: flags.prefix ? prefixEnd(key) : FROM_HERE };
  }
  return end === undefined ? { key } : { key, rangeEnd: bytesOf(end) };
}
