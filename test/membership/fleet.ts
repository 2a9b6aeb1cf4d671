/** A cluster whose members come and go, as an operator would change it: over the API, and by starting processes. */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { post } from '../crash/load.ts';
import { type MusterMember, makeMember, startMuster, temporaryDirectory } from '../support/muster.ts';
import { freePorts } from '../support/ports.ts';

/** A membership call is refused until members have been connected for 5 s; a learner needs time to catch up. */
const PATIENCE_MS = 30_000;
const RETRY_MS = 100;

type Listed = { readonly ID: string; readonly name?: string; readonly peerURLs: readonly string[] };

export class Fleet {
  readonly members: MusterMember[] = [];
  readonly #started: MusterMember[] = [];
  readonly #dir = temporaryDirectory('fleet');
  #next = 0;

  static async start(size: number): Promise<Fleet> {
    const fleet = new Fleet();
    fleet.members.push(...(await startMuster(size)).members);
    fleet.#started.push(...fleet.members);
    fleet.#next = size;
    return fleet;
  }

  /** Of the members that run. */
  endpoints(): readonly string[] {
    return this.members.filter((m) => m.process?.exitCode === null).map((m) => m.clientUrl);
  }

  /** Adds a member and starts it; resolves once it serves. */
  async join(isLearner: boolean): Promise<MusterMember> {
    const [clientPort, peerPort] = (await freePorts(2)) as [number, number];
    const name = `m${++this.#next}`;
    const peerUrl = `http://127.0.0.1:${peerPort}`;
    const { members } = await this.#call<{ members: readonly Listed[] }>('add', {
      peerURLs: [peerUrl],
      isLearner,
    });
    const pairs = members.map((m) => `${m.peerURLs[0] === peerUrl ? name : m.name}=${m.peerURLs[0]}`);
    const member = makeMember({
      name,
      clientUrl: `http://127.0.0.1:${clientPort}`,
      peerUrl,
      dataDir: join(this.#dir, name),
      initialCluster: pairs.join(','),
      flags: ['--initial-cluster-state=existing'],
      env: {},
    });
    this.#started.push(member);
    await member.start();
    if (!isLearner) this.members.push(member);
    return member;
  }

  async promote(learner: MusterMember): Promise<void> {
    await this.#call('promote', { ID: await this.#idOf(learner) });
    this.members.push(learner);
  }

  /** Resolves once it is removed; its process may still be ending. */
  async remove(member: MusterMember): Promise<void> {
    const ID = await this.#idOf(member);
    this.members.splice(this.members.indexOf(member), 1);
    await this.#call('remove', { ID });
  }

  wipe(member: MusterMember): void {
    rmSync(member.dataDir, { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await Promise.all(this.#started.map((member) => member.stop('SIGKILL')));
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async #idOf(member: MusterMember): Promise<string> {
    const { members } = await this.#call<{ members: readonly Listed[] }>('list', {});
    const found = members.find((m) => m.peerURLs[0] === member.peerUrl);
    if (!found) throw new Error(`${member.name} is no member`);
    return found.ID;
  }

  /** Asks one member after the other until one does it. */
  async #call<T>(verb: 'add' | 'remove' | 'promote' | 'list', body: unknown): Promise<T> {
    const end = Date.now() + PATIENCE_MS;
    for (let attempt = 0; ; attempt++) {
      const endpoints = this.endpoints();
      try {
        const url = endpoints[attempt % endpoints.length] as string;
        return (await post(url, `/v3/cluster/member/${verb}`, body)) as T;
      } catch (error) {
        if (Date.now() > end || !/unhealthy cluster|in sync with leader/.test(String(error))) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }
}

/** How a process ended that was to end by itself. */
export async function ended(member: MusterMember): Promise<number | null> {
  const child = member.process;
  if (!child) throw new Error(`${member.name} does not run`);
  if (child.exitCode === null && child.signalCode === null) {
    await once(child, 'exit', { signal: AbortSignal.timeout(PATIENCE_MS) });
  }
  return child.exitCode;
}
