/** HTTP: etcd's JSON gateway and Muster's own REST, by wrong bodies, paths, methods and headers. */
import type { Prng } from '@muster/base';
import { Agent, request } from 'undici';
import { type Json, jsonText, mutateBytes } from './mutate.ts';
import { answered, checkWords, type Open, Tally, Violation } from './target.ts';

const K = 'ZnV6eg==';

/**
 * Bodies that are right, by path. None may lock the fuzzer out: no user of the name root, no member that is really
 * added.
 */
const CALLS: readonly (readonly [path: string, body: Json])[] = [
  [
    'kv/range',
    { key: K, range_end: 'AA==', limit: '5', sort_order: 'DESCEND', sort_target: 'MOD', revision: '2' },
  ],
  ['kv/range', { key: K, range_end: 'AA==', sort_order: 'ASCEND', sort_target: 'VALUE', count_only: false }],
  ['kv/put', { key: K, value: 'dmFsdWU=', lease: '0', prev_kv: true }],
  ['kv/deleterange', { key: K, range_end: 'Zw==', prev_kv: true }],
  [
    'kv/txn',
    {
      compare: [{ key: K, target: 'VERSION', result: 'EQUAL', version: '1' }],
      success: [{ request_put: { key: K, value: 'eA==' } }, { request_range: { key: K } }],
      failure: [{ request_txn: { success: [{ request_delete_range: { key: K } }] } }],
    },
  ],
  ['kv/compaction', { revision: '1', physical: false }],
  ['lease/grant', { TTL: '5', ID: '0' }],
  ['lease/revoke', { ID: '77' }],
  ['lease/timetolive', { ID: '77', keys: true }],
  ['lease/leases', {}],
  ['lease/keepalive', { ID: '77' }],
  ['watch', { create_request: { key: K, range_end: 'AA==', start_revision: '1', filters: ['NOPUT'] } }],
  ['cluster/member/list', { linearizable: true }],
  ['cluster/member/add', { peerURLs: ['nowhere'], isLearner: true }],
  ['cluster/member/remove', { ID: '77' }],
  ['cluster/member/update', { ID: '77', peerURLs: ['http://127.0.0.1:1'] }],
  ['cluster/member/promote', { ID: '77' }],
  ['maintenance/alarm', { action: 'GET', memberID: '0', alarm: 'NONE' }],
  ['maintenance/status', {}],
  ['maintenance/hash', {}],
  ['maintenance/hashkv', { revision: '0' }],
  ['maintenance/downgrade', { action: 'VALIDATE', version: '3.5' }],
  ['maintenance/transfer-leadership', { targetID: '77' }],
  ['auth/status', {}],
  ['auth/authenticate', { name: 'ann', password: 'x' }],
  ['auth/user/add', { name: 'ann', password: 'x', options: { no_password: true } }],
  ['auth/user/get', { name: 'ann' }],
  ['auth/user/list', {}],
  ['auth/user/delete', { name: 'ann' }],
  ['auth/user/grant', { user: 'ann', role: 'reader' }],
  ['auth/user/revoke', { name: 'ann', role: 'reader' }],
  ['auth/role/add', { name: 'reader' }],
  ['auth/role/get', { role: 'reader' }],
  ['auth/role/list', {}],
  ['auth/role/delete', { role: 'reader' }],
  ['auth/role/grant', { name: 'reader', perm: { permType: 'READ', key: K, range_end: 'AA==' } }],
  ['auth/role/revoke', { role: 'reader', key: K, range_end: 'AA==' }],
  ['lock/lock', { name: K, lease: '0' }],
  ['lock/unlock', { key: K }],
  ['election/campaign', { name: K, value: 'eA==', lease: '0' }],
  ['election/proclaim', { leader: { name: K, key: K, rev: '1', lease: '1' }, value: 'eA==' }],
  ['election/leader', { name: K }],
  ['election/observe', { name: K }],
  ['election/resign', { leader: { name: K, key: K, rev: '1', lease: '1' } }],
];

const REST: readonly (readonly [method: string, path: string, body: Json])[] = [
  ['GET', 'kv/fuzz?consistency=linearizable&at=2', null],
  ['GET', 'kv?prefix=f&limit=3&cursor=abc&sort=key&order=desc&keysOnly=true', null],
  ['GET', 'kv?prefix=f&limit=3&sort=mod&order=desc', null],
  ['GET', 'kv/fuzz', null],
  ['GET', 'kv/fuzz?wait=1s&since=1.2', null],
  ['PUT', 'kv/fuzz?ttl=5s&prev=1', 'value'],
  ['DELETE', 'kv/fuzz', null],
  [
    'POST',
    'txn',
    { if: [{ key: 'fuzz', version: 0 }], then: [{ put: { key: 'fuzz', value: 'x' } }], else: [] },
  ],
  ['POST', 'leases', { ttl: '5s' }],
  ['POST', 'leases/keepalive', { ids: ['000000000000004d'] }],
  ['GET', 'leases/000000000000004d', null],
  ['GET', 'services?status=up&wait=1s', null],
  ['PUT', 'services/fuzz/instances/a', { address: '127.0.0.1', port: 80, ttl: '5s', meta: { a: 'b' } }],
  ['GET', 'services/fuzz/instances?zone=a&version=^2&meta.k=v', null],
  ['GET', 'services/fuzz/pick?policy=random', null],
  ['GET', 'watch?prefix=f&since=1.2', null],
  ['GET', 'cluster', null],
  ['POST', 'auth/login', { name: 'ann', password: 'x' }],
];

/** These wait for something to happen: they are left after a moment. */
const WAITS = /watch|keepalive|lock\/lock|campaign|observe|wait=|snapshot/;
const PATIENCE_MS = 150;
const METHODS = ['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD', 'POST'];
const ODD_HEADERS: readonly (readonly [string, string])[] = [
  ['grpc-timeout', '1S'],
  ['grpc-timeout', 'soon'],
  ['authorization', 'Bearer x.1'],
  ['content-type', 'text/plain'],
  ['content-type', 'application/json; charset=utf-16'],
  ['if-match', '"1"'],
  ['if-none-match', '*'],
  ['prefer', 'wait=1'],
  ['x-timeout', '-1s'],
  ['last-event-id', '1.x'],
  ['accept', 'text/event-stream'],
  ['origin', 'null'],
];

export const openJson: Open = ({ clientUrl }) => {
  const agent = new Agent({ connections: 16 });
  const tally = new Tally();
  return {
    name: 'json',
    tally,
    run: (prng) => one(prng, clientUrl, agent, tally),
    close: () => void agent.destroy(),
  };
};

async function one(prng: Prng, url: string, agent: Agent, tally: Tally): Promise<void> {
  const call = prng.chance(0.7) ? etcdCall(prng) : restCall(prng);
  const path = prng.chance(0.05) ? mutatedPath(prng, call.path) : call.path;
  const headers: Record<string, string> = {};
  if (prng.chance(0.9)) headers['content-type'] = 'application/json';
  if (prng.chance(0.3)) Object.assign(headers, Object.fromEntries([prng.pick(ODD_HEADERS)]));
  const waits = WAITS.test(path) || 'accept' in headers || 'prefer' in headers;
  const noBody = call.method === 'GET' || call.method === 'HEAD';
  const what = `${call.method} ${path} ${JSON.stringify(headers)} ${call.body.slice(0, 300)}`;
  const abort = new AbortController();
  const timer = waits ? setTimeout(() => abort.abort(), PATIENCE_MS) : undefined;
  try {
    const sent = request(url + path, {
      dispatcher: agent,
      method: call.method as 'POST',
      headers,
      body: noBody ? null : call.body,
      signal: abort.signal,
    });
    const { statusCode, body, headers: got } = await answered(sent, what);
    const text = await answered(body.text(), what);
    tally.add(`${call.path.slice(0, 3)} ${statusCode}${statusCode < 500 ? '' : ` ${text.slice(0, 36)}`}`);
    check(statusCode, text, what);
    checkForm(call, statusCode, String(got['content-type']), text, what);
    if (statusCode >= 400) checkWords(text, path + call.body + JSON.stringify(headers), what);
  } catch (error) {
    if (error instanceof Violation) throw error;
    // Left by us, or a request that the HTTP client itself refuses to send.
    if (abort.signal.aborted || /^UND_ERR_INVALID_ARG$|^ERR_INVALID/.test(codeOf(error))) {
      return tally.add(abort.signal.aborted ? 'left' : 'not sent');
    }
    throw new Violation(`${String(error)} (${codeOf(error)}): ${what}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

function check(status: number, text: string, what: string): void {
  // Code 2 is HTTP 500 in etcd's gateway: locks and elections answer with it. Code 13 is an error of our own.
  const code = /"(?:code|grpc_code|grpcCode)":(\d+)/.exec(text)?.[1];
  const own = code === '13' || /internal error|INTERNAL/.test(text) || (status >= 500 && code === undefined);
  if (status < 200 || status > 599 || own) {
    throw new Violation(`HTTP ${status} ${text.slice(0, 300)}: ${what}`);
  }
}

/** What says that it is JSON is; errors of calls have the members that clients look for. */
function checkForm(call: Call, status: number, type: string, text: string, what: string): void {
  if (call.method === 'HEAD' || text === '' || !/^application\/(?:problem\+)?json/.test(type)) return;
  let bad = false;
  for (const line of text.trimEnd().split('\n')) {
    try {
      const value = JSON.parse(line) as { code?: unknown; error?: unknown; title?: unknown };
      if (status < 400) continue;
      if (type.includes('problem')) bad ||= typeof value.title !== 'string';
      else bad ||= typeof value.code !== 'number' && typeof value.error !== 'object';
    } catch {
      bad = true;
    }
  }
  if (bad) throw new Violation(`HTTP ${status} ${type} "${text.slice(0, 300)}" for ${what}`);
}

type Call = { readonly method: string; readonly path: string; readonly body: string };

function etcdCall(prng: Prng): Call {
  const [name, template] = prng.pick(CALLS);
  let body = jsonText(prng, template);
  if (prng.chance(0.1)) body += jsonText(prng, template);
  const prefix = prng.chance(0.9) ? '/v3/' : '/v3beta/';
  return {
    method: prng.chance(0.95) ? 'POST' : prng.pick(METHODS),
    path: prefix + name,
    body: harmless(body),
  };
}

function restCall(prng: Prng): Call {
  const [method, path, template] = prng.pick(REST);
  const query = prng.chance(0.3) ? mutatedPath(prng, path) : path;
  const body = harmless(jsonText(prng, template));
  return { method: prng.chance(0.95) ? method : prng.pick(METHODS), path: `/v1/${query}`, body };
}

/** A member that is really added, or a user root, would end the run by itself. */
function harmless(body: string): string {
  return body.replaceAll('root', 'toor').replaceAll('http', 'ptth');
}

function mutatedPath(prng: Prng, path: string): string {
  const bytes = mutateBytes(prng, Buffer.from(path));
  const text = Buffer.from(bytes).toString('latin1');
  return `${path.startsWith('/') ? '/' : ''}${encodeURI(text).replace(/[#]/g, '')}`.replace(/^\/+/, '/');
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code ?? '');
}
