import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, Prng } from '@muster/base';
import { type Answer, FakeTransport, settle } from '../../test/fake-transport.ts';
import { Caller, type CallOptions, type CallResult } from './caller.ts';
import { Endpoints } from './endpoints.ts';
import { MusterError } from './errors.ts';
import type { Repeat } from './retry.ts';
import { TransportError } from './transport.ts';

const NO_LEADER: Answer = { status: 503, body: { code: 'NO_LEADER', retryable: true } };
const TIMEOUT: Answer = { status: 503, body: { code: 'TIMEOUT', retryable: true } };
const CONFLICT: Answer = { status: 412, body: { code: 'PRECONDITION_FAILED', retryable: false } };
const FINE: Answer = { status: 200 };
const refused = () => Promise.reject(new TransportError('ECONNREFUSED', false));
const broken = () => Promise.reject(new TransportError('ECONNRESET', true));

/** Makes a call against members that answer in turn as told, the last answer again and again. */
async function call(
  repeat: Repeat,
  answers: (Answer | (() => Promise<Answer>))[],
  options: CallOptions = {},
) {
  const clock = new ManualClock();
  const prng = new Prng(3);
  const transport = new FakeTransport();
  const endpoints = new Endpoints(['a:1', 'b:1', 'c:1'], clock, prng);
  const caller = new Caller({ endpoints, transport, clock, prng, headers: {} });
  let n = 0;
  transport.respond = () => {
    const answer = answers[Math.min(n++, answers.length - 1)] as Answer | (() => Promise<Answer>);
    return typeof answer === 'function' ? answer() : answer;
  };
  let outcome: CallResult | MusterError | undefined;
  caller.call({ method: 'PUT', path: '/v1/x', repeat }, options).then(
    (result) => {
      outcome = result;
    },
    (error) => {
      outcome = error;
    },
  );
  for (let i = 0; i < 2000 && !outcome; i++) {
    await settle();
    clock.advance(10);
  }
  const failed = outcome instanceof MusterError ? outcome : undefined;
  const result = failed ? undefined : (outcome as CallResult);
  return { failed, result, requests: transport.requests, tookMs: clock.nowMs() };
}

test('a call goes to another member when one refuses the connection, whatever the call is', async () => {
  for (const repeat of ['safe', 'conditional', 'once'] as const) {
    const { result, requests } = await call(repeat, [refused, refused, FINE]);
    assert.equal(result?.status, 200);
    assert.equal(new Set(requests.map((request) => request.url)).size, 3, 'three members');
    assert.equal(result?.repeated, false);
  }
});

test('refusals that did nothing are repeated for every kind of call', async () => {
  for (const repeat of ['safe', 'conditional', 'once'] as const) {
    assert.equal((await call(repeat, [NO_LEADER, FINE])).result?.status, 200);
  }
});

test('what may have been carried out is repeated only where that does no harm', async () => {
  for (const failure of [broken, TIMEOUT]) {
    assert.equal((await call('safe', [failure, FINE])).result?.status, 200);
    assert.equal((await call('conditional', [failure, FINE])).result?.repeated, true);
    const { failed, requests } = await call('once', [failure, FINE]);
    assert.equal(requests.length, 1);
    assert.equal(failed?.ambiguous, true);
    assert.equal((await call('once', [failure, FINE], { idempotent: true })).result?.status, 200);
  }
});

test('a refused condition after an attempt of unknown fate is ambiguous, otherwise it is not', async () => {
  assert.equal((await call('conditional', [broken, CONFLICT])).failed?.ambiguous, true);
  assert.equal((await call('conditional', [refused, CONFLICT])).failed?.ambiguous, false);
  assert.equal((await call('conditional', [CONFLICT])).failed?.ambiguous, false);
});

test('the deadline bounds all attempts and pauses together', async () => {
  const { failed, tookMs, requests } = await call('safe', [NO_LEADER], { timeout: '2s' });
  assert.equal(failed?.code, 'NO_LEADER');
  assert(tookMs <= 2_100 && requests.length > 6, `${requests.length} attempts in ${tookMs} ms`);
});

test('a member that does not answer costs a part of the deadline, not all of it', async () => {
  const { result, tookMs } = await call('safe', [() => new Promise(() => {}), FINE]);
  assert.equal(result?.status, 200);
  assert(tookMs >= 3_000 && tookMs < 3_200, `${tookMs} ms`);
  const once = await call('once', [() => new Promise(() => {}), FINE], { timeout: 1_000 });
  assert.equal(once.failed?.code, 'DEADLINE');
  assert.equal(once.failed?.ambiguous, true);
});

test('an error that is not worth repeating is told at once, with its problem document', async () => {
  const body = { code: 'BAD_REQUEST', title: 'bad request', detail: 'key: expected text', retryable: false };
  const { failed, requests } = await call('safe', [{ status: 400, body }]);
  assert.equal(requests.length, 1);
  assert.deepEqual(
    [failed?.code, failed?.status, failed?.message],
    ['BAD_REQUEST', 400, 'bad request: key: expected text'],
  );
});
