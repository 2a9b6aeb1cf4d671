import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** Bytes that a reader asks for by place: a file, or memory. */
export interface BoltSource {
  readonly size: number;
  /** `length` bytes from `position`; the caller stays within `size`. */
  read(position: number, length: number): Buffer;
  close(): void;
}

/** A file, read when asked. The tools that read backups have nothing else to do meanwhile. */
export function fileSource(path: string): BoltSource {
  const fd = openSync(path, 'r');
  return {
    size: fstatSync(fd).size,
    read(position, length) {
      const bytes = Buffer.allocUnsafe(length);
      let filled = 0;
      while (filled < length) {
        const count = readSync(fd, bytes, filled, length - filled, position + filled);
        if (count === 0) throw new Error(`${path} became shorter while it was read`);
        filled += count;
      }
      return bytes;
    },
    close: () => closeSync(fd),
  };
}

export function memorySource(bytes: Uint8Array): BoltSource {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    size: all.length,
    read: (position, length) => all.subarray(position, position + length),
    close: () => {},
  };
}
