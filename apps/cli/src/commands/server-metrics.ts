import { readFile } from 'node:fs/promises';
import { request as plain } from 'node:http';
import { request as secure } from 'node:https';
import { Failure } from '../failure.ts';
import type { Globals } from '../globals.ts';

/** More than any server's page of metrics. */
const PAGE_BYTES_MAX = 16 * 1024 * 1024;

/** `process_resident_memory_bytes` of an endpoint's process. */
export async function residentBytes(
  endpoint: string,
  globals: Globals,
  signal: AbortSignal,
): Promise<number> {
  const https = /^https:/.test(endpoint) || (!/^http:/.test(endpoint) && !globals['insecure-transport']);
  const host = endpoint.replace(/^https?:\/\//, '').replace(/\/$/, '');
  const page = await fetchPage(`${https ? 'https' : 'http'}://${host}/metrics`, globals, signal);
  const match = /^process_resident_memory_bytes ([0-9.e+]+)$/m.exec(page);
  return match ? Number(match[1]) : 0;
}

async function fetchPage(url: string, globals: Globals, signal: AbortSignal): Promise<string> {
  const file = (path: string) => (path === '' ? undefined : readFile(path));
  const [ca, cert, key] = await Promise.all([file(globals.cacert), file(globals.cert), file(globals.key)]);
  const tls = {
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    rejectUnauthorized: !globals['insecure-skip-tls-verify'],
  };
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(new Failure(`cannot read ${url}: ${error.message}`));
    const call = (url.startsWith('https:') ? secure : plain)(url, { ...tls, signal }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > PAGE_BYTES_MAX) call.destroy(new Error('the page is too large'));
      });
      response.once('error', fail);
      response.once('end', () => {
        if (response.statusCode === 200) resolve(text);
        else fail(new Error(`status ${response.statusCode}, expected 200`));
      });
    });
    call.once('error', fail);
    call.end();
  });
}
