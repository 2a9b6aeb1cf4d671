/** The same requests to two servers, whose answers must be the same but for ids, terms, hashes and known decisions. */
import assert from 'node:assert/strict';
import { type Answer, type Ask, ask } from './gateway-harness.ts';

export type Step = readonly [path: string, body: string, ask?: Ask];

/** Ids and terms as marks, sizes and hashes gone; what may differ by version made the same. */
export function normal(value: unknown, name = ''): unknown {
  if (Array.isArray(value)) return value.map((item) => normal(item));
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value).filter(([key]) => !OWN_FIELDS.has(key));
    return Object.fromEntries(entries.map(([key, item]) => [key, normal(item, key)]));
  }
  return MARKED.has(name) ? '#' : value;
}
const MARKED = new Set(['cluster_id', 'member_id', 'raft_term', 'hash', 'memberID', 'token']);
/** `code` within a stream's error is of 3.6. */
const OWN_FIELDS = new Set(['hash_revision']);

export function normalLine(line: string): unknown {
  return line.startsWith('{') ? normal(JSON.parse(line)) : line;
}

function comparable({ status, headers, text, json }: Answer): unknown {
  return {
    // FailedPrecondition is 412 in Debian's build alone.
    status: status === 412 ? 400 : status,
    type: headers['content-type'],
    cors: [
      headers['access-control-allow-origin'],
      headers['access-control-allow-methods'],
      headers['access-control-allow-headers'],
    ],
    body: json === undefined ? text.split('\n').map(normalLine) : normal(json),
  };
}

export class Comparison {
  /** Theirs, then ours. */
  readonly ports: readonly [number, number];

  constructor(theirs: number, ours: number) {
    this.ports = [theirs, ours];
  }

  /** Asks both at once; their answer is returned. */
  compare(path: string, request: Ask): Promise<Answer> {
    return this.compareEach(path, [request, request]);
  }

  /** Asks each with a request of its own, such as one with its own token. */
  async compareEach(path: string, [first, request]: readonly [Ask, Ask] | readonly Ask[]): Promise<Answer> {
    if (first === undefined || request === undefined) throw new TypeError('a request for each is needed');
    const [theirs, mine] = await Promise.all([
      ask(this.ports[0], path, first),
      ask(this.ports[1], path, request),
    ]);
    const what = `${request.method ?? 'POST'} ${path} ${String(request.body).slice(0, 2000)}`;
    assert.deepEqual(
      comparable(mine),
      comparable(theirs),
      `${what}\nours   ${mine.text}\netcd's ${theirs.text}`,
    );
    return theirs;
  }

  async all(steps: readonly Step[]): Promise<void> {
    for (const [path, body, request] of steps) await this.compare(path, { ...request, body });
  }

  /** Waits until both are in a state. */
  async settled(condition: (port: number) => Promise<boolean>, timeoutMs = 5000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (const port of this.ports) {
      while (!(await condition(port))) {
        if (performance.now() > deadline) throw new Error(`the server on ${port} did not get there`);
      }
    }
  }
}
