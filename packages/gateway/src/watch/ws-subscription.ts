/** A subscription of a WebSocket: its credit, and its frames. */
import type { ClusterState, GapReason, KvError, ServerFrame, SubFrame } from '@muster/contract';
import { encodeFrame } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import { textFrame } from '../outbox/framing.ts';
import type { Outbox } from '../outbox/outbox.ts';
import type { ClusterWatch } from '../v1/cluster-state.ts';
import type { V1Context } from '../v1/context.ts';
import { parseCursor } from '../v1/cursors.ts';
import { problemOf } from '../v1/errors.ts';
import type { EncodedRevision } from './encode.ts';
import { kvSelection, type Selection, serviceSelection } from './selection.ts';
import { type Outlet, Subscription } from './subscription.ts';

/** What a session asks of every kind of subscription. */
export interface SocketSubscription {
  readonly id: string;
  start(epoch: string): void;
  /** There may be room. */
  pump(): void;
  ack(rev: number, credit: number | undefined): void;
  requestProgress(): void;
  /** `undefined` when no bookmark concerns it now. */
  readonly delivered: number | undefined;
  readonly lagging: boolean;
  close(): void;
}

/** What a subscription needs of its session. */
export type SessionHooks = {
  readonly context: V1Context;
  readonly cluster: ClusterWatch;
  readonly outbox: Outbox;
  /** With the token that the client has shown last. */
  call(): CallOptions;
  onProgress(id: string, rev: number): void;
  onEnded(id: string): void;
};

export function makeSubscription(frame: SubFrame, hooks: SessionHooks): SocketSubscription {
  if ('cluster' in frame.sel) return new ClusterSubscription(frame.id, hooks);
  const selection = 'kv' in frame.sel ? kvSelection(frame.sel.kv) : serviceSelection(frame.sel.service);
  return new KeySubscription(frame, selection, hooks);
}

class KeySubscription implements SocketSubscription, Outlet {
  readonly id: string;
  readonly #hooks: SessionHooks;
  readonly #subscription: Subscription;
  readonly #prefix: string;
  #window: number;
  /** Revisions sent and not yet acknowledged, ascending; never more than the window was. */
  #outstanding: number[] = [];
  #toldLag = false;

  constructor(frame: SubFrame, selection: Selection, hooks: SessionHooks) {
    this.id = frame.id;
    this.#hooks = hooks;
    const { credit, creditDefault } = hooks.context.limits;
    this.#window = Math.min(frame.credit ?? creditDefault, credit);
    this.#prefix = `{"t":"ev","id":${JSON.stringify(frame.id)},"rev":`;
    const from = frame.from === undefined ? undefined : parseCursor(frame.from);
    const options = {
      ...(from ? { from } : {}),
      snapshot: frame.snapshot === true,
      coalesce: frame.coalesce === 'key',
    };
    const call = hooks.call();
    this.#subscription = new Subscription(hooks.context, selection, this, options, () => call);
  }

  get delivered(): number | undefined {
    return this.#subscription.delivered;
  }

  get lagging(): boolean {
    return this.#subscription.lagging;
  }

  start(epoch: string): void {
    this.#subscription.start(epoch);
  }

  pump(): void {
    this.#subscription.pump();
  }

  ack(rev: number, credit: number | undefined): void {
    if (credit !== undefined) this.#window = Math.min(credit, this.#hooks.context.limits.credit);
    const first = this.#outstanding.findIndex((sent) => sent > rev);
    this.#outstanding.splice(0, first === -1 ? this.#outstanding.length : first);
    if (this.#outstanding.length < this.#window) this.#toldLag = false;
    this.pump();
  }

  requestProgress(): void {
    this.#subscription.requestProgress();
  }

  close(): void {
    this.#subscription.close();
  }

  get hasRoom(): boolean {
    return this.#hooks.outbox.hasRoom;
  }

  readyForRevision(behind: number): boolean {
    if (this.#outstanding.length < this.#window) return this.hasRoom;
    if (!this.#toldLag) {
      this.#toldLag = true;
      this.#send({ t: 'lag', id: this.id, behind });
    }
    return false;
  }

  revision(encoded: EncodedRevision): void {
    this.#outstanding.push(encoded.rev);
    const frames = encoded.frames(this.id, (events, part, parts) => {
      const cut = parts === 1 ? '' : `"part":[${part},${parts}],`;
      return textFrame(`${this.#prefix}${encoded.rev},${cut}"events":${events}}`);
    });
    for (const frame of frames) this.#hooks.outbox.push(frame);
  }

  subscribed(mode: 'resume' | 'snapshot', rev: number): void {
    this.#send({ t: 'subd', id: this.id, mode, rev });
  }

  snapshot(rev: number, items: string, more: boolean, replace: boolean): void {
    const head = `{"t":"snap","id":${JSON.stringify(this.id)},"rev":${rev},"more":${more}`;
    this.#hooks.outbox.push(textFrame(`${head}${replace ? ',"replace":true' : ''},"items":${items}}`));
  }

  gap(reason: GapReason, from: string, to: number): void {
    this.#outstanding = [];
    this.#toldLag = false;
    this.#send({ t: 'gap', id: this.id, reason, from, to });
  }

  progress(rev: number): void {
    this.#hooks.onProgress(this.id, rev);
  }

  ended(error: KvError): void {
    this.#send({ t: 'end', id: this.id, problem: problemOf(error) });
    this.#hooks.onEnded(this.id);
  }

  #send(frame: ServerFrame): void {
    this.#hooks.outbox.push(textFrame(encodeFrame(frame)));
  }
}

/** Members and leader. A state that finds no room is replaced by the next one. */
class ClusterSubscription implements SocketSubscription {
  readonly id: string;
  readonly delivered = undefined;
  readonly lagging = false;
  readonly #hooks: SessionHooks;
  #stop = (): void => {};
  #waiting: ClusterState | undefined;
  #subscribed = false;

  constructor(id: string, hooks: SessionHooks) {
    this.id = id;
    this.#hooks = hooks;
  }

  start(): void {
    this.#stop = this.#hooks.cluster.listen((state) => {
      this.#waiting = state;
      this.pump();
    });
  }

  pump(): void {
    const state = this.#waiting;
    const { outbox } = this.#hooks;
    if (!state || !outbox.hasRoom) return;
    this.#waiting = undefined;
    if (!this.#subscribed) {
      this.#subscribed = true;
      const subd: ServerFrame = { t: 'subd', id: this.id, mode: 'snapshot', rev: state.revision };
      outbox.push(textFrame(encodeFrame(subd)));
    }
    outbox.push(textFrame(encodeFrame({ t: 'cluster', id: this.id, ...state })));
  }

  ack(): void {}

  requestProgress(): void {}

  close(): void {
    this.#stop();
    this.#waiting = undefined;
  }
}
