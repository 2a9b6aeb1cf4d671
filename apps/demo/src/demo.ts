import { mkdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Child } from './child.ts';
import type { MemberPlan, Plan } from './options.ts';

const READY_LINE = 'ready to serve client requests';
const LEADER_TIMEOUT_MS = 2_000;

/** Sample services, as `<name>-<n>`, and whom each keeps in view. */
const SAMPLES = [
  { name: 'orders', id: 'orders-1', peer: 'payments', zone: 'a' },
  { name: 'orders', id: 'orders-2', peer: 'payments', zone: 'b' },
  { name: 'payments', id: 'payments-1', peer: 'orders', zone: 'a' },
] as const;

type DemoOptions = {
  readonly plan: Plan;
  readonly root: string;
  /** One line for the person at the terminal. */
  readonly say: (line: string) => void;
};

/** The processes of the demonstration: three members and what registers with them. */
export class Demo {
  readonly #options: DemoOptions;
  readonly #members = new Map<MemberPlan, Child>();
  readonly #services: Child[] = [];
  #stopping: Promise<void> | undefined;

  constructor(options: DemoOptions) {
    this.#options = options;
    mkdirSync(options.plan.logDir, { recursive: true });
  }

  get endpoints(): readonly string[] {
    return this.#options.plan.members.map(clientUrl);
  }

  /** All at once: none of them is ready before a majority is there. */
  async startMembers(onReady: (name: string) => void): Promise<void> {
    for (const member of this.#options.plan.members)
      this.#members.set(member, this.#spawn(member.name, this.#memberArgs(member), isMemberReady));
    await Promise.all(
      [...this.#members].map(([member, child]) => child.ready.then(() => onReady(member.name))),
    );
  }

  async startServices(onReady: (id: string) => void): Promise<void> {
    const file = 'apps/demo/src/services/sample-service.ts';
    const muster = this.endpoints.join(',');
    for (const { name, id, peer, zone } of SAMPLES) {
      const args = [file, '--name', name, '--id', id, '--zone', zone, '--peer', peer, '--muster', muster];
      this.#services.push(this.#spawn(id, args, isServiceReady));
    }
    await Promise.all(this.#services.map((child) => child.ready.then(() => onReady(child.name))));
  }

  /** The name of the member that leads, if one says so. */
  async leader(): Promise<string | undefined> {
    for (const endpoint of this.endpoints) {
      try {
        const signal = AbortSignal.timeout(LEADER_TIMEOUT_MS);
        const response = await fetch(`${endpoint}/v1/members`, { signal });
        const { members } = (await response.json()) as { members: { name: string; leader: boolean }[] };
        return members.find((member) => member.leader)?.name;
      } catch {
        // The next one may know.
      }
    }
    return undefined;
  }

  /** Services first, then followers, the leader last. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  kill(): void {
    for (const child of [...this.#services, ...this.#members.values()]) child.kill();
  }

  async #stop(): Promise<void> {
    const { say } = this.#options;
    const services = this.#services.filter((child) => child.alive);
    if (services.length > 0) say(`stopping ${services.map((child) => child.name).join(', ')}`);
    await Promise.all(services.map((child) => child.stop()));
    const leader = await this.leader();
    const members = [...this.#members.values()].filter((child) => child.alive);
    const followers = members.filter((child) => child.name !== leader);
    for (const child of [...followers, ...members.filter((child) => child.name === leader)]) {
      say(`stopping ${child.name}${child.name === leader ? ' (leader)' : ''}`);
      const how = await child.stop();
      if (how !== 'exit code 0' && how !== 'SIGTERM')
        say(`${child.name} ended with ${how}: see ${child.logFile}`);
    }
  }

  #spawn(name: string, args: readonly string[], isReady: (line: string) => boolean): Child {
    const { root, plan, say } = this.#options;
    const child: Child = new Child({
      name,
      args,
      cwd: root,
      logDir: plan.logDir,
      isReady,
      onNotable: (line) => {
        const text = notable(line);
        if (text !== undefined) say(`${name}: ${text}`);
      },
      onDeath: (how) => {
        if (this.#stopping) return;
        const file = relative(process.cwd(), child.logFile);
        say(`${name} is gone (${how}); its log is ${file}. To start it again:\n  ${shellLine(root, args)}`);
      },
    });
    return child;
  }

  #memberArgs(member: MemberPlan): string[] {
    const { members } = this.#options.plan;
    return [
      'apps/server/src/main.ts',
      `--name=${member.name}`,
      `--data-dir=${member.dataDir}`,
      `--listen-client-urls=${clientUrl(member)}`,
      `--advertise-client-urls=${clientUrl(member)}`,
      `--listen-peer-urls=${peerUrl(member)}`,
      `--initial-advertise-peer-urls=${peerUrl(member)}`,
      `--initial-cluster=${members.map((each) => `${each.name}=${peerUrl(each)}`).join(',')}`,
      '--initial-cluster-token=muster-demo',
      // A page served by one member goes on with another when that one dies.
      `--allowed-origins=${members.flatMap(originsOf).join(',')}`,
    ];
  }
}

export function clientUrl(member: MemberPlan): string {
  return `http://127.0.0.1:${member.clientPort}`;
}

function peerUrl(member: MemberPlan): string {
  return `http://127.0.0.1:${member.peerPort}`;
}

function originsOf(member: MemberPlan): string[] {
  return ['127.0.0.1', 'localhost'].map((host) => `http://${host}:${member.clientPort}`);
}

function isMemberReady(line: string): boolean {
  return line.includes(READY_LINE);
}

function isServiceReady(line: string): boolean {
  return line.includes('"msg":"serving"');
}

/** The message of a log line that is a warning or worse, with what explains it; `undefined` for the rest. */
function notable(line: string): string | undefined {
  try {
    const { level, msg, error, err } = JSON.parse(line) as Record<string, unknown>;
    const serious = typeof level === 'number' ? level >= 50 : level === 'error' || level === 'fatal';
    if (!serious) return undefined;
    const detail = error ?? (err as { message?: unknown } | undefined)?.message;
    return [msg, detail].filter((part) => part !== undefined).join(': ');
  } catch {
    // Not a log line at all: whatever it is, somebody should see it.
    return line;
  }
}

function shellLine(root: string, args: readonly string[]): string {
  const node = join(relative(process.cwd(), root), 'node_modules/node/bin/node');
  const [file = '', ...flags] = args;
  return [node, file, ...flags].join(' ');
}
