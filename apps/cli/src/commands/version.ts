import { readFile } from 'node:fs/promises';
import type { Run } from '../line/command.ts';

/** The etcd API whose messages it speaks. */
const API_VERSION = '3.6';

export const version: Run<Record<never, never>> = async (call) => {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  const { version: own } = JSON.parse(text) as { version: string };
  call.io.out(`musterctl version: ${own}\nAPI version: ${API_VERSION}\n`);
};
