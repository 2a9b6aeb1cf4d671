import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/**
 * The path of a program out of a Debian package, installed on demand where this process may. Without it, `undefined`
 * after a loud line on stderr; in CI that is an error, because a check that silently does not run is none.
 */
export function debianProgram(program: string, pkg: string): string | undefined {
  return ensured(program, pkg, () => which(program));
}

/** The same for a file that is no program, by its absolute path. */
export function debianFile(path: string, pkg: string): string | undefined {
  return ensured(path, pkg, () => (existsSync(path) ? path : undefined));
}

function ensured(what: string, pkg: string, find: () => string | undefined): string | undefined {
  const found = find();
  if (found !== undefined) return found;
  if (process.getuid?.() === 0) {
    install(pkg);
    const installed = find();
    if (installed !== undefined) return installed;
  }
  const text = `${what} is missing: install Debian's package ${pkg} (apt-get install -y ${pkg})`;
  if (process.env.CI === 'true') throw new Error(text);
  console.error(`SKIPPED: ${text}`);
  return undefined;
}

function which(program: string): string | undefined {
  for (const dir of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(dir, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this directory.
    }
  }
  return undefined;
}

/** One at a time on the machine: test files run side by side. */
function install(pkg: string): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: string[]) =>
    spawnSync(
      'flock',
      [join(tmpdir(), 'muster-apt.lock'), 'apt-get', '-qq', '-o', 'DPkg::Lock::Timeout=120', ...args],
      {
        env,
        stdio: 'ignore',
      },
    ).status === 0;
  if (!apt('install', '-y', '--no-install-recommends', pkg)) {
    apt('update');
    apt('install', '-y', '--no-install-recommends', pkg);
  }
}
