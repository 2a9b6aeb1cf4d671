/** The built dashboard as files in memory: they are few, and never change while the server runs. */
import { readdir, readFile } from 'node:fs/promises';
import { extname, join, relative, sep } from 'node:path';

/** What the gateway serves as a file. */
type StaticFile = {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  readonly cacheControl: string;
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

const NOT_BUILT = `<!doctype html>
<meta charset="utf-8">
<title>Muster</title>
<p>This member runs, but its dashboard has not been built. In the repository:
<pre>pnpm --filter @muster/dashboard build</pre>
<p>and start the member again. The API is at <a href="/v1/services">/v1/services</a>.
`;

/**
 * Files of `directory` below `/ui/`, its `index.html` at `/ui/` and, for who types only the address, at `/`. Without a
 * built dashboard those two say how to build it.
 */
export async function loadStatic(directory: string): Promise<(path: string) => StaticFile | undefined> {
  const files = new Map<string, StaticFile>();
  let bytes = 0;
  for (const name of await filesBelow(directory)) {
    const content = await readFile(join(directory, name));
    bytes += content.length;
    if (files.size >= FILES_MAX || bytes > BYTES_MAX) {
      throw new Error(
        `${directory} holds more than ${FILES_MAX} files or ${BYTES_MAX} bytes: not a dashboard`,
      );
    }
    files.set(`/ui/${name.split(sep).join('/')}`, fileOf(name, new Uint8Array(content)));
  }
  const start = files.get('/ui/index.html') ?? fileOf('index.html', new TextEncoder().encode(NOT_BUILT));
  for (const path of ['/', '/ui', '/ui/']) files.set(path, start);
  return (path) => files.get(path);
}

async function filesBelow(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => relative(directory, join(entry.parentPath, entry.name)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function fileOf(name: string, body: Uint8Array<ArrayBuffer>): StaticFile {
  // A bundler's name carries a hash of the content, so what is under it never changes.
  const hashed = /-[\w-]{8,}\.\w+$/.test(name) && !name.endsWith('.html');
  return {
    body,
    contentType: TYPES[extname(name)] ?? 'application/octet-stream',
    cacheControl: hashed ? 'public, max-age=31536000, immutable' : 'no-cache',
  };
}
