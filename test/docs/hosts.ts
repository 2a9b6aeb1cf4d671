/**
 * The hosts of the operator's guide on the loopback interface: what the guide shows is run as it stands, with its
 * addresses and paths replaced by those of the test, and back again in what is printed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readEnvFile } from '../support/env-file.ts';
import { temporaryDirectory } from '../support/muster.ts';
import { freePorts } from '../support/ports.ts';

const ROOT = new URL('../..', import.meta.url).pathname.replace(/\/$/, '');
const DEPLOY = '/opt/muster/apps/server/deploy';
/** In the guide: where operators sit, and the members at 10.0.0.11 to 10.0.0.13. */
const NAMES = ['admin', 'etcd1', 'etcd2', 'etcd3'] as const;
type Name = (typeof NAMES)[number];

const COMMAND_TIMEOUT_MS = 60_000;
const JOURNAL_SHOWN = 4000;
const PROGRAMS = { musterctl: 'apps/cli/bin/musterctl', 'muster-gateway': 'apps/gateway/bin/muster-gateway' };

type Ran = { readonly output: string; readonly status: number };

export class Hosts {
  readonly #directory: string;
  readonly #hosts: ReadonlyMap<string, Host>;

  private constructor(directory: string, hosts: ReadonlyMap<string, Host>) {
    this.#directory = directory;
    this.#hosts = hosts;
  }

  static async open(): Promise<Hosts> {
    const directory = temporaryDirectory('guide');
    const ports = await freePorts(4);
    mkdirSync(join(directory, 'bin'));
    for (const [name, path] of Object.entries(PROGRAMS)) {
      symlinkSync(join(ROOT, path), join(directory, 'bin', name));
    }
    symlinkSync(process.execPath, join(directory, 'bin/node'));
    const hosts = NAMES.map((name, i) => [name, new Host(name, i, directory, ports)] as const);
    return new Hosts(directory, new Map(hosts));
  }

  /** Runs one line of a shell of the guide; without a name that of the operator. */
  async run(name: string, command: string): Promise<Ran> {
    const host = this.#hosts.get(name as Name);
    if (host === undefined) throw new Error(`${name} is no host of the guide (${this.#directory})`);
    return host.run(command);
  }

  /** The newest of what the members logged, for who has to find out why a page did not hold. */
  journals(): string {
    return [...this.#hosts].map(([name, host]) => `${name}:\n${host.journal()}`).join('\n');
  }

  async close(): Promise<void> {
    await Promise.all([...this.#hosts.values()].map((host) => host.close()));
  }
}

/** One machine: a root directory of its own, a shell that goes on from line to line, and the unit `muster`. */
class Host {
  readonly #root: string;
  readonly #there: readonly (readonly [RegExp, string])[];
  readonly #back: readonly (readonly [string, string])[];
  readonly #shell: ChildProcess;
  #unit: ChildProcess | undefined;
  #output = '';

  constructor(name: Name, index: number, directory: string, ports: readonly number[]) {
    const root = join(directory, name);
    this.#root = root;
    const [client = 0, peer = 0, metrics = 0, gateway = 0] = ports;
    const pairs: readonly (readonly [RegExp, string, string])[] = [
      [/(?<![\w:/])\/(?=etc\/|var\/|backup\b)/g, '/', `${root}/`],
      [/\/opt\/muster\/apps\/server\/deploy/g, DEPLOY, `${root}/deploy`],
      [/\/opt\/muster/g, '/opt/muster', ROOT],
      [/\b127\.0\.0\.1\b/g, '127.0.0.1', `127.0.1.${index + 1}`],
      [/\b10\.0\.0\.1(?=\d)/g, '10.0.0.1', '127.0.0.1'],
      [/:2379\b/g, ':2379', `:${client}`],
      [/:2380\b/g, ':2380', `:${peer}`],
      [/:2381\b/g, ':2381', `:${metrics}`],
      [/:2390\b/g, ':2390', `:${gateway}`],
    ];
    this.#there = pairs.map(([pattern, , here]) => [pattern, here]);
    this.#back = pairs.map(([, shown, here]) => [here, shown]);
    for (const path of ['etc/ssl/etcd', 'var/lib', 'backup'])
      mkdirSync(join(root, path), { recursive: true });
    cpSync(join(ROOT, 'apps/server/deploy'), join(root, 'deploy'), { recursive: true });
    const env = join(root, 'deploy/etcd.env');
    writeFileSync(env, this.#toHere(readFileSync(env, 'utf8')));
    this.#shell = this.#openShell(directory);
  }

  async run(command: string): Promise<Ran> {
    const verb = /^sudo systemctl (start|stop|restart) muster$/.exec(command)?.[1];
    if (verb !== undefined) return this.#systemctl(verb);
    const here = this.#toHere(command);
    // What is removed or written is this test's.
    const others = here.replaceAll(`${this.#root}/`, '').replaceAll(ROOT, '');
    const outside = /(?<![\w:])\/(?:etc|var|usr|opt|root|home)\b/.exec(others);
    if (outside) throw new Error(`${command}: ${outside[0]} is not of this test's hosts`);
    return this.#inShell(here);
  }

  journal(): string {
    const path = join(this.#root, 'journal');
    return existsSync(path) ? readFileSync(path, 'utf8').slice(-JOURNAL_SHOWN) : '';
  }

  async close(): Promise<void> {
    this.#shell.kill('SIGKILL');
    this.#unit?.kill('SIGKILL');
  }

  #toHere(text: string): string {
    return this.#there.reduce((result, [pattern, here]) => result.replace(pattern, here), text);
  }

  #toGuide(text: string): string {
    return this.#back.reduce((result, [here, shown]) => result.replaceAll(here, shown), text);
  }

  #openShell(directory: string): ChildProcess {
    const { PATH = '', HOME = '' } = process.env;
    const env = { PATH: `${join(directory, 'bin')}:${PATH}`, HOME, HOSTS: directory, LC_ALL: 'C' };
    const shell = spawn('bash', ['--noprofile', '--norc'], { cwd: this.#root, env, stdio: 'pipe' });
    for (const stream of [shell.stdout, shell.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
        shell.emit('said');
      });
    }
    // Nobody else's machine is needed: what is copied to another host is copied to its directory.
    shell.stdin?.write(`exec 2>&1
sudo() { "$@"; }
systemctl() { echo 'systemctl stands on a line of its own here'; return 1; }
scp() { local to="\${@: -1}"; cp "\${@:1:$#-1}" "$HOSTS/\${to%%:*}\${to#*:}"; }
journalctl() { cat "${this.#root}/journal"; }
`);
    return shell;
  }

  async #inShell(command: string): Promise<Ran> {
    const mark = `--- end of ${Math.random()}`;
    this.#output = '';
    this.#shell.stdin?.write(`{ ${command}\n} </dev/null\nprintf '\\n%s %d\\n' '${mark}' $?\n`);
    const end = new RegExp(`\n${mark} (\\d+)\n$`);
    const signal = AbortSignal.timeout(COMMAND_TIMEOUT_MS);
    for (;;) {
      const found = end.exec(this.#output);
      if (found) {
        const output = this.#toGuide(this.#output.slice(0, found.index));
        return { output: output.replace(/\n$/, ''), status: Number(found[1]) };
      }
      try {
        await once(this.#shell, 'said', { signal });
      } catch {
        throw new Error(`no end of: ${this.#toGuide(command)}\n${this.#toGuide(this.#output)}`);
      }
    }
  }

  /** What systemd makes of the unit: its environment file, its command, and nothing of the caller's. */
  async #systemctl(verb: string): Promise<Ran> {
    if (verb !== 'start') await this.#stopUnit();
    if (verb !== 'stop') this.#startUnit();
    return { output: '', status: 0 };
  }

  #startUnit(): void {
    const unit = readFileSync(join(this.#root, 'deploy/muster.service'), 'utf8');
    const setting = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1] ?? '';
    const [, ...args] = setting('ExecStart')
      .split(' ')
      .map((word) => this.#toHere(word));
    const env = readEnvFile(this.#toHere(setting('EnvironmentFile')));
    const journal = openSync(join(this.#root, 'journal'), 'a');
    this.#unit = spawn(process.execPath, args, { env, stdio: ['ignore', journal, journal] });
  }

  async #stopUnit(): Promise<void> {
    const unit = this.#unit;
    this.#unit = undefined;
    if (!unit || unit.exitCode !== null || unit.signalCode !== null) return;
    const exit = once(unit, 'exit');
    unit.kill('SIGTERM');
    await exit;
  }
}
