import type { Clock } from '@muster/base';
import { KvError } from '@muster/contract';
import { NONE, type NodeId } from '@muster/raft';
import {
  decodeAnswer,
  decodeCall,
  encodeAnswer,
  encodeCall,
  type LeaderAnswer,
  type LeaderCall,
} from './leader-calls.ts';
import type { PeerTransport } from './ports.ts';

type Waiting = {
  readonly call: LeaderCall;
  readonly deadlineMs: number;
  readonly done: (answer: LeaderAnswer | undefined, error: KvError | undefined) => void;
  /** Whom it was sent to last, NONE while nobody leads. */
  sentTo: NodeId;
  sentMs: number;
};

/**
 * Calls to whoever leads: answered here when this member does, else sent over the peer transport, and sent again
 * when the leader changes or stays silent (all of them may safely be asked twice).
 */
export class LeaderLink {
  readonly #clock: Clock;
  readonly #transport: PeerTransport;
  readonly #self: NodeId;
  readonly #leader: () => NodeId;
  readonly #answerHere: (call: LeaderCall, done: (answer: LeaderAnswer) => void) => void;
  readonly #countMax: number;
  readonly #retryMs: number;
  readonly #waiting = new Map<number, Waiting>();
  #lastId: number;

  constructor(options: {
    readonly clock: Clock;
    readonly transport: PeerTransport;
    readonly self: NodeId;
    readonly leader: () => NodeId;
    /** Answers a call as the leader; an `error` of code NOT_LEADER makes the asker try the next leader. */
    readonly answerHere: (call: LeaderCall, done: (answer: LeaderAnswer) => void) => void;
    readonly countMax: number;
    readonly retryMs: number;
    /** Random: an answer to this process's former life must not be taken for one to this. */
    readonly firstId: number;
  }) {
    this.#lastId = options.firstId;
    this.#clock = options.clock;
    this.#transport = options.transport;
    this.#self = options.self;
    this.#leader = options.leader;
    this.#answerHere = options.answerHere;
    this.#countMax = options.countMax;
    this.#retryMs = options.retryMs;
  }

  call(
    call: LeaderCall,
    deadlineMs: number,
    done: (answer: LeaderAnswer | undefined, error: KvError | undefined) => void,
  ): void {
    if (this.#waiting.size >= this.#countMax) return done(undefined, new KvError('TOO_MANY_REQUESTS'));
    const id = ++this.#lastId;
    const waiting: Waiting = { call, deadlineMs, done, sentTo: NONE, sentMs: 0 };
    this.#waiting.set(id, waiting);
    this.#send(id, waiting);
  }

  /** Another member asks this one. */
  onRequest(from: NodeId, id: number, body: Uint8Array): void {
    const call = decodeCall(body);
    const reply = (answer: LeaderAnswer) =>
      this.#transport.send(from, { type: 'response', id, body: encodeAnswer(answer) });
    if (!call) reply({ type: 'error', code: 'BAD_REQUEST' });
    else this.#answerHere(call, reply);
  }

  onResponse(from: NodeId, id: number, body: Uint8Array): void {
    const waiting = this.#waiting.get(id);
    if (!waiting || waiting.sentTo !== from) return;
    let answer: LeaderAnswer;
    try {
      answer = decodeAnswer(body);
    } catch (error) {
      this.#waiting.delete(id);
      return waiting.done(undefined, KvError.from(error));
    }
    this.#settle(id, waiting, answer);
  }

  /** The leader changed: everything under way is asked again. */
  onLeaderChange(): void {
    for (const [id, waiting] of [...this.#waiting]) {
      waiting.sentTo = NONE;
      this.#send(id, waiting);
    }
  }

  sweep(nowMs: number): void {
    for (const [id, waiting] of [...this.#waiting]) {
      if (waiting.deadlineMs <= nowMs) {
        this.#waiting.delete(id);
        waiting.done(undefined, new KvError('TIMEOUT'));
      } else if (nowMs - waiting.sentMs >= this.#retryMs) {
        this.#send(id, waiting);
      }
    }
  }

  failAll(error: KvError): void {
    for (const [id, waiting] of [...this.#waiting]) {
      this.#waiting.delete(id);
      waiting.done(undefined, error);
    }
  }

  #send(id: number, waiting: Waiting): void {
    const leader = this.#leader();
    waiting.sentMs = this.#clock.nowMs();
    waiting.sentTo = leader;
    if (leader === NONE) return;
    if (leader !== this.#self) {
      this.#transport.send(leader, { type: 'request', id, body: encodeCall(waiting.call) });
      return;
    }
    this.#answerHere(waiting.call, (answer) => {
      if (this.#waiting.get(id) === waiting && waiting.sentTo === this.#self)
        this.#settle(id, waiting, answer);
    });
  }

  #settle(id: number, waiting: Waiting, answer: LeaderAnswer): void {
    if (answer.type === 'error') {
      // A member that no longer leads: ask again once the leader is known (sweep, or the change itself).
      if (answer.code === 'NOT_LEADER' || answer.code === 'LEADER_CHANGED') {
        waiting.sentTo = NONE;
        return;
      }
      this.#waiting.delete(id);
      return waiting.done(undefined, new KvError(answer.code));
    }
    this.#waiting.delete(id);
    waiting.done(answer, undefined);
  }
}
