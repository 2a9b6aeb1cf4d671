/** The built dashboard as files in memory: they are few, and never change while the server runs. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';

export type StaticFile = {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  readonly etag: string;
  /** The name carries a hash of the content, so it may be kept for ever. */
  readonly immutable: boolean;
};

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
};

const FILES_MAX = 200;
const BYTES_MAX = 16 * 1024 * 1024;

/** Files by their path below `directory`, with `/` between. `undefined` when there is no such directory. */
export async function loadStatic(directory: string): Promise<ReadonlyMap<string, StaticFile> | undefined> {
  let names: string[];
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    names = entries
      .filter((entry) => entry.isFile())
      .map((entry) =>
        join(entry.parentPath, entry.name)
          .slice(directory.length)
          .replace(/^[/\\]+/, ''),
      );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (names.length > FILES_MAX)
    throw new Error(`${directory} has ${names.length} files, more than ${FILES_MAX}`);
  const files = new Map<string, StaticFile>();
  let bytes = 0;
  for (const name of names) {
    const content = await readFile(join(directory, name));
    bytes += content.length;
    if (bytes > BYTES_MAX) throw new Error(`${directory} holds more than ${BYTES_MAX} bytes`);
    files.set(name.replaceAll('\\', '/'), {
      body: new Uint8Array(content),
      contentType: TYPES[extname(name)] ?? 'application/octet-stream',
      etag: `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`,
      immutable: /-[\w-]{8,}\.\w+$/.test(name) && !name.endsWith('.html'),
    });
  }
  return files.size === 0 ? undefined : files;
}
