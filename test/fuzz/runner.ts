/** Runs one target against a member and looks after the member meanwhile. */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Prng } from '@muster/base';
import type { MusterMember } from '../support/muster.ts';
import { openDecoders } from './decoders.ts';
import { openGrpc } from './grpc.ts';
import { openJson } from './json.ts';
import { openPeer } from './peer.ts';
import { ANSWER_MS, answered, type Open, Violation } from './target.ts';
import { openWebSocket } from './websocket.ts';

export const TARGETS: Readonly<Record<string, Open>> = {
  grpc: openGrpc,
  json: openJson,
  websocket: openWebSocket,
  peer: openPeer,
  decoders: openDecoders,
};

/** A failing input: `<target> <seed>`, and what it did. */
type Finding = { readonly target: string; readonly seed: string; readonly error: Error };

export type Outcome = {
  readonly cases: number;
  /** Resident memory of the member at the first look after warming up, and the largest later, in MiB. */
  readonly memory: { readonly early: number; readonly peak: number };
  /** What it was on the way, about every half minute. */
  readonly curve: readonly Sample[];
  /** The slowest of the writes and reads that went on meanwhile, in milliseconds. */
  readonly slowestMs: number;
  /** What the inputs came to. */
  readonly tally: string;
  readonly finding: Finding | undefined;
};

/** Resident memory of the member in MiB, what of it is no page of the store's mapped file, and open files. */
type Sample = {
  readonly seconds: number;
  readonly mib: number;
  readonly anonymousMib: number;
  readonly files: number;
};

const AT_ONCE = 8;
const SAMPLE_EVERY_MS = 30_000;
/** What may be open at the end that was not at the beginning: connections whose deadline is yet to come. */
const FILES_LEFT_MAX = 100;
/** How long an end may take that is known of a connection, until the process is gone. */
const LAST_WORDS_MS = 2000;
/** What a write is refused with while an alarm is on. */
const ALARM = /space exceeded|corrupt cluster/;
const ATTEMPTS = 20;
const LOOK_EVERY_MS = 2000;
/** Memory is compared with what it was after this. */
const WARM_MS = 60_000;
/** What a process that holds nothing of its inputs may grow by: caches, the store's own pages, the collector's room. */
const GROWTH_MAX_MIB = 400;

/** Seeds `<seed>:0`, `<seed>:1`, … until the time is over or something is found. */
export async function fuzz(
  member: MusterMember,
  name: string,
  seed: string,
  durationMs: number,
): Promise<Outcome> {
  const target = await (TARGETS[name] as Open)(member);
  const started = performance.now();
  const watch = new MemberWatch(member, started);
  let next = 0;
  let finding: Finding | undefined;
  const lane = async () => {
    while (finding === undefined && performance.now() - started < durationMs) {
      const mine = `${seed}:${next++}`;
      try {
        await target.run(new Prng(mine));
        await watch.look();
      } catch (error) {
        finding ??= { target: name, seed: mine, error: await watch.explained(error as Error) };
      }
    }
  };
  // Of decoders that run in this process.
  const uncaught = (error: Error) => {
    finding ??= { target: name, seed: `${seed}:${next - 1}`, error };
  };
  process.on('uncaughtException', uncaught);
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  target.close();
  process.off('uncaughtException', uncaught);
  if (finding === undefined) {
    try {
      await watch.healthy();
      await watch.filesClosed();
    } catch (error) {
      finding = { target: name, seed: `${seed}:${next}`, error: error as Error };
    }
  }
  const { memory, curve, slowestMs } = watch;
  return { cases: next, memory, curve, slowestMs, tally: String(target.tally ?? ''), finding };
}

/** One seed, alone, as it was found. */
export async function replay(member: MusterMember, name: string, seed: string): Promise<void> {
  const target = await (TARGETS[name] as Open)(member);
  try {
    await target.run(new Prng(seed));
    await new MemberWatch(member, performance.now()).healthy();
  } finally {
    target.close();
  }
}

class MemberWatch {
  readonly #member: MusterMember;
  readonly #started: number;
  #lastLook = 0;
  #early = 0;
  #peak = 0;
  readonly #files: number;
  readonly curve: Sample[] = [];
  slowestMs = 0;

  constructor(member: MusterMember, started: number) {
    this.#member = member;
    this.#started = started;
    this.#files = openFiles(member);
  }

  get memory(): { early: number; peak: number } {
    return { early: this.#early, peak: this.#peak };
  }

  async look(): Promise<void> {
    const now = performance.now();
    if (now - this.#lastLook < LOOK_EVERY_MS) return;
    this.#lastLook = now;
    await this.healthy();
    this.slowestMs = Math.max(this.slowestMs, Math.round(performance.now() - now));
    const mib = memoryMib(this.#member, 'VmRSS');
    const sampledMs = (this.curve.at(-1)?.seconds ?? Number.NEGATIVE_INFINITY) * 1000;
    if (now - this.#started - sampledMs >= SAMPLE_EVERY_MS) {
      const seconds = Math.round((now - this.#started) / 1000);
      const anonymousMib = memoryMib(this.#member, 'RssAnon');
      this.curve.push({ seconds, mib, anonymousMib, files: openFiles(this.#member) });
    }
    if (now - this.#started < WARM_MS || this.#early === 0) this.#early = Math.max(this.#early, mib);
    this.#peak = Math.max(this.#peak, mib);
    if (this.#peak > this.#early + GROWTH_MAX_MIB) {
      throw new Violation(`memory grew from ${this.#early} to ${this.#peak} MiB`);
    }
  }

  /** The process is there, and a write and a read come back. Alarms that an input set off are put out first. */
  async healthy(): Promise<void> {
    const key = 'aGVhbHRo';
    const value = Buffer.from(String(performance.now())).toString('base64');
    // In one step: other inputs delete keys meanwhile.
    const success = [{ request_put: { key, value } }, { request_range: { key } }];
    for (let attempt = 1; ; attempt++) {
      await this.#calm();
      const { status, text } = await this.#post('kv/txn', { success });
      // An input has set off another alarm since.
      if (ALARM.test(text) && attempt < ATTEMPTS) continue;
      if (status !== 200) throw new Violation(`a write: HTTP ${status} ${text}`);
      const { responses } = JSON.parse(text) as {
        responses: { response_range?: { kvs?: { value: string }[] } }[];
      };
      const read = responses[1]?.response_range?.kvs?.[0]?.value;
      if (read !== value) throw new Violation(`${value} was written, ${read} is there`);
      return;
    }
  }

  async #calm(): Promise<void> {
    const { status, text } = await this.#post('maintenance/alarm', {});
    if (status !== 200) throw new Violation(`the alarms: HTTP ${status} ${text}`);
    const { alarms = [] } = JSON.parse(text) as { alarms?: { memberID?: string; alarm: string }[] };
    for (const { memberID = '0', alarm } of alarms) {
      await this.#post('maintenance/alarm', { action: 'DEACTIVATE', memberID, alarm });
    }
  }

  async #post(path: string, body: object): Promise<{ readonly status: number; readonly text: string }> {
    const ask = async () => {
      const init = { method: 'POST', body: JSON.stringify(body) };
      const response = await fetch(`${this.#member.clientUrl}/v3/${path}`, init);
      return { status: response.status, text: await response.text() };
    };
    return answered(ask(), `the look at the member, ${path}`);
  }

  /** Every connection that was left is let go of. */
  async filesClosed(): Promise<void> {
    const deadline = performance.now() + ANSWER_MS;
    while (openFiles(this.#member) > this.#files + FILES_LEFT_MAX) {
      if (performance.now() > deadline) {
        throw new Violation(`${openFiles(this.#member)} open files, ${this.#files} at the start`);
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  /** With the member's last words, when it died. Its connections are known to end before it does. */
  async explained(error: Error): Promise<Error> {
    const { process: child } = this.#member;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const still = AbortSignal.timeout(LAST_WORDS_MS);
      if (
        await once(child, 'exit', { signal: still }).then(
          () => false,
          () => true,
        )
      )
        return error;
    }
    const words = this.#member.log().slice(-3000);
    return new Violation(`the member ended (${child?.exitCode ?? child?.signalCode}): ${words}`, {
      cause: error,
    });
  }
}

function memoryMib(member: MusterMember, line: 'VmRSS' | 'RssAnon'): number {
  const status = readFileSync(`/proc/${member.process?.pid}/status`, 'utf8');
  const kib = new RegExp(`^${line}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0;
  return Math.round(Number(kib) / 1024);
}

function openFiles(member: MusterMember): number {
  return readdirSync(`/proc/${member.process?.pid}/fd`).length;
}
