/** Strict parsing of watch frames: what is not in the protocol is refused with what was expected instead. */
import type { ClientFrame, ServerFrame, WatchSelection } from './ws-frames.ts';

export type FrameResult<T> =
  | { readonly ok: true; readonly frame: T }
  /** `pointer` is a JSON pointer into the frame. */
  | { readonly ok: false; readonly pointer: string; readonly expected: string };

class FrameError extends Error {
  readonly pointer: string;
  readonly expected: string;
  constructor(pointer: string, expected: string) {
    super(`${pointer || 'frame'}: ${expected} expected`);
    this.pointer = pointer;
    this.expected = expected;
  }
}

type Check = (value: unknown, pointer: string) => void;
type Fields = Readonly<Record<string, { readonly check: Check; readonly required?: boolean }>>;

const SUB_ID = /^[\x21-\x7e]{1,64}$/;
const CURSOR = /^[A-Za-z0-9._-]{3,200}$/;
const KEY_CHARS_MAX = 65_536;
const TOKEN_CHARS_MAX = 8192;

function test(expected: string, holds: (value: unknown) => boolean): Check {
  return (value, pointer) => {
    if (!holds(value)) throw new FrameError(pointer, expected);
  };
}

const whole = (low: number, high: number): Check =>
  test(`a whole number from ${low} to ${high}`, (v) =>
    Number.isSafeInteger(v) && (v as number) >= low && (v as number) <= high);
const text = (low: number, high: number): Check =>
  test(`text of ${low} to ${high} characters`, (v) =>
    typeof v === 'string' && v.length >= low && v.length <= high);
const matching = (pattern: RegExp, expected: string): Check =>
  test(expected, (v) => typeof v === 'string' && pattern.test(v));
const oneOf = (...values: readonly string[]): Check =>
  test(`one of ${values.join(', ')}`, (v) => typeof v === 'string' && values.includes(v));
const flag = test('true or false', (v) => typeof v === 'boolean');
const listOf =
  (item: Check, most: number): Check =>
  (value, pointer) => {
    if (!Array.isArray(value) || value.length < 1 || value.length > most) {
      throw new FrameError(pointer, `a list of 1 to ${most} items`);
    }
    value.forEach((v, i) => {
      item(v, `${pointer}/${i}`);
    });
  };

function object(fields: Fields): Check {
  return (value, pointer) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new FrameError(pointer, 'an object');
    }
    for (const [name, member] of Object.entries(value)) {
      const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
      if (!field)
        throw new FrameError(`${pointer}/${name}`, `one of the members ${Object.keys(fields).join(', ')}`);
      field.check(member, `${pointer}/${name}`);
    }
    for (const [name, field] of Object.entries(fields)) {
      if (field.required && !Object.hasOwn(value, name))
        throw new FrameError(`${pointer}/${name}`, 'this member');
    }
  };
}

const required = (check: Check) => ({ check, required: true });
const optional = (check: Check) => ({ check });

const subId = matching(SUB_ID, 'an id of 1 to 64 printable ASCII characters');
const revision = whole(0, Number.MAX_SAFE_INTEGER);
const base64 = matching(/^[A-Za-z0-9+/_-]{1,90000}={0,2}$/, 'base64');
const token = (most: number) => text(1, most);

const kvFields = object({
  key: optional(text(1, KEY_CHARS_MAX)),
  keyBase64: optional(base64),
  prefix: optional(text(0, KEY_CHARS_MAX)),
  prefixBase64: optional(base64),
  start: optional(text(0, KEY_CHARS_MAX)),
  end: optional(text(1, KEY_CHARS_MAX)),
  keysOnly: optional(flag),
  prevKv: optional(flag),
  only: optional(listOf(oneOf('put', 'delete'), 2)),
});
const kvSelection: Check = (value, pointer) => {
  kvFields(value, pointer);
  const names = ['key', 'keyBase64', 'prefix', 'prefixBase64', 'start'].filter((n) =>
    Object.hasOwn(value as object, n),
  );
  if (names.length !== 1) {
    throw new FrameError(pointer, 'exactly one of key, keyBase64, prefix, prefixBase64, start');
  }
  if (Object.hasOwn(value as object, 'end') && names[0] !== 'start')
    throw new FrameError(`${pointer}/end`, 'start with it');
};
const serviceSelection = object({
  name: required(matching(/^(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,127})$/, "a service name or '*'")),
  ns: optional(matching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'a namespace')),
  status: optional(listOf(oneOf('starting', 'up', 'draining', 'down', 'maintenance'), 8)),
  zone: optional(token(128)),
  tag: optional(listOf(token(128), 16)),
  version: optional(token(64)),
});
const selectionFields = object({
  kv: optional(kvSelection),
  service: optional(serviceSelection),
  cluster: optional(object({})),
});
const selection: Check = (value, pointer) => {
  selectionFields(value, pointer);
  if (Object.keys(value as object).length !== 1)
    throw new FrameError(pointer, 'exactly one of kv, service, cluster');
};

const tag = required(() => {});
const CLIENT_FRAMES: Readonly<Record<ClientFrame['t'], Check>> = {
  hello: object({ t: tag, v: required(whole(0, 1_000_000)), client: optional(text(0, 200)) }),
  sub: object({
    t: tag,
    id: required(subId),
    sel: required(selection),
    from: optional(matching(CURSOR, 'a cursor')),
    snapshot: optional(flag),
    credit: optional(whole(1, Number.MAX_SAFE_INTEGER)),
    coalesce: optional(oneOf('none', 'key')),
  }),
  unsub: object({ t: tag, id: required(subId) }),
  ack: object({
    t: tag,
    id: required(subId),
    rev: required(revision),
    credit: optional(whole(1, Number.MAX_SAFE_INTEGER)),
  }),
  ping: object({ t: tag, n: required(whole(0, Number.MAX_SAFE_INTEGER)) }),
  progress: object({ t: tag, id: optional(subId) }),
  auth: object({ t: tag, token: required(token(TOKEN_CHARS_MAX)) }),
};

/** A frame from a client, checked in every member; nothing unknown is let through. */
export function parseClientFrame(source: string): FrameResult<ClientFrame> {
  return guarded(() => {
    const value = parseObject(source);
    const check =
      typeof value.t === 'string' && Object.hasOwn(CLIENT_FRAMES, value.t)
        ? CLIENT_FRAMES[value.t as ClientFrame['t']]
        : undefined;
    if (!check) throw new FrameError('/t', `one of ${Object.keys(CLIENT_FRAMES).join(', ')}`);
    check(value, '');
    return value as ClientFrame;
  });
}

const list = test('a list', Array.isArray);
const anyObject = test('an object', (v) => typeof v === 'object' && v !== null && !Array.isArray(v));
type Needs = Readonly<Record<string, Check>>;

/** What a client relies on in each frame; other members may be added to the protocol and are let through. */
const SERVER_FRAMES: Readonly<Record<ServerFrame['t'], Needs>> = {
  welcome: {
    v: whole(1, 1_000_000),
    session: text(1, 200),
    epoch: text(1, 64),
    rev: revision,
    heartbeatMs: revision,
    limits: anyObject,
  },
  subd: { mode: oneOf('resume', 'snapshot'), rev: revision },
  snap: { rev: revision, items: list, more: flag },
  ev: { rev: revision, events: list },
  bm: { rev: revision },
  gap: { reason: oneOf('compacted', 'overflow', 'epoch'), from: text(0, 1000), to: revision },
  lag: { behind: revision },
  cluster: { members: list, term: revision, revision },
  end: {},
  err: { problem: anyObject },
  goaway: { afterMs: revision, reason: text(1, 100) },
  pong: { n: revision },
};

/**
 * A frame from a server. One of an unknown kind is not an error, for the protocol may grow: `frame` is then
 * `undefined` and the frame is to be ignored.
 */
export function parseServerFrame(source: string): FrameResult<ServerFrame | undefined> {
  return guarded(() => {
    const value = parseObject(source);
    if (typeof value.t !== 'string') throw new FrameError('/t', 'text');
    if (!Object.hasOwn(SERVER_FRAMES, value.t)) return undefined;
    for (const [name, check] of Object.entries(SERVER_FRAMES[value.t as ServerFrame['t']])) {
      check(value[name], `/${name}`);
    }
    return value as unknown as ServerFrame;
  });
}

/** Checks a selection alone, such as one made from query parameters. */
export function checkSelection(value: unknown): FrameResult<WatchSelection> {
  return guarded(() => {
    selection(value, '');
    return value as WatchSelection;
  });
}

function parseObject(source: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch {
    throw new FrameError('', 'JSON');
  }
  anyObject(value, '');
  return value as Record<string, unknown>;
}

function guarded<T>(run: () => T): FrameResult<T> {
  try {
    return { ok: true, frame: run() };
  } catch (error) {
    if (error instanceof FrameError) return { ok: false, pointer: error.pointer, expected: error.expected };
    throw error;
  }
}
