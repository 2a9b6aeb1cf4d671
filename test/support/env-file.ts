import { readFileSync } from 'node:fs';

/** The assignments of a file that systemd reads as `EnvironmentFile`: comments and empty lines left out, quotes off. */
export function readEnvFile(path: string): Readonly<Record<string, string>> {
  const entries = readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => /^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line))
    .filter((match) => match !== null)
    .map(([, name = '', value = '']) => [name, value.trim().replace(/^(["'])(.*)\1$/, '$2')] as const);
  return Object.fromEntries(entries);
}
