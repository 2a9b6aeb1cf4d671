import type { Clock } from '@muster/base';
import { KvError } from '@muster/contract';
import type { NodeId } from '@muster/raft';
import { decodeAnswer, encodeCall, type LeaderAnswer, type LeaderCall } from './leader-calls.ts';
import type { PeerTransport } from './ports.ts';

/** Calls under way. They are few: each is about all of a member's data. */
const CALLS_MAX = 64;

type Waiting = {
  readonly to: NodeId;
  readonly body: Uint8Array;
  readonly deadlineMs: number;
  readonly done: (answer: LeaderAnswer | undefined, error: KvError | undefined) => void;
  sent: boolean;
};

/** Calls to one certain member, each sent once: what is lost is known by its deadline. */
export class PeerCalls {
  readonly #clock: Clock;
  readonly #transport: PeerTransport;
  readonly #waiting = new Map<number, Waiting>();
  #lastId: number;

  /** `firstId` is random: an answer to this process's former life must not be taken for one to this. */
  constructor(options: {
    readonly clock: Clock;
    readonly transport: PeerTransport;
    readonly firstId: number;
  }) {
    this.#clock = options.clock;
    this.#transport = options.transport;
    this.#lastId = options.firstId;
  }

  call(to: NodeId, call: LeaderCall, timeoutMs: number, done: Waiting['done']): void {
    if (this.#waiting.size >= CALLS_MAX) return done(undefined, new KvError('TOO_MANY_REQUESTS'));
    const id = ++this.#lastId;
    const deadlineMs = this.#clock.nowMs() + timeoutMs;
    const waiting: Waiting = { to, body: encodeCall(call), deadlineMs, done, sent: false };
    this.#waiting.set(id, waiting);
    this.#send(id, waiting);
  }

  /** True when the response was to one of these. */
  onResponse(from: NodeId, id: number, body: Uint8Array): boolean {
    const waiting = this.#waiting.get(id);
    if (!waiting || waiting.to !== from) return false;
    this.#waiting.delete(id);
    let answer: LeaderAnswer;
    try {
      answer = decodeAnswer(body);
    } catch (error) {
      waiting.done(undefined, KvError.from(error));
      return true;
    }
    if (answer.type === 'error') waiting.done(undefined, new KvError(answer.code));
    else waiting.done(answer, undefined);
    return true;
  }

  /** Called each tick. */
  sweep(nowMs: number): void {
    for (const [id, waiting] of [...this.#waiting]) {
      if (waiting.deadlineMs > nowMs) this.#send(id, waiting);
      else if (this.#waiting.delete(id)) waiting.done(undefined, new KvError('TIMEOUT'));
    }
  }

  failAll(error: KvError): void {
    for (const [id, waiting] of [...this.#waiting]) {
      if (this.#waiting.delete(id)) waiting.done(undefined, error);
    }
  }

  #send(id: number, waiting: Waiting): void {
    if (waiting.sent) return;
    waiting.sent = this.#transport.send(waiting.to, { type: 'request', id, body: waiting.body });
  }
}
