/** Every text here was recorded from etcd 3.4.23. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { parseFirst } from './json-value.ts';
import { alarmRequest, rangeRequest, txnRequest, watchStreamRequest } from './requests.ts';
import { StatusError } from './status-error.ts';

const range = (body: string) => rangeRequest(parseFirst(body));
const textOf = (body: string, decode: (body: string) => unknown = range): string => {
  try {
    decode(body);
  } catch (error) {
    const status = StatusError.from(error);
    assert.equal(status.grpc, 3, body);
    assert.equal(status.http, 400, body);
    return status.message;
  }
  throw new Error(`taken: ${body}`);
};

const FAULTS: readonly (readonly [body: string, text: string])[] = [
  ['[]', 'json: cannot unmarshal array into Go value of type map[string]json.RawMessage'],
  ['"x"', 'json: cannot unmarshal string into Go value of type map[string]json.RawMessage'],
  ['1', 'json: cannot unmarshal number into Go value of type map[string]json.RawMessage'],
  ['true', 'json: cannot unmarshal bool into Go value of type map[string]json.RawMessage'],
  ['{', 'unexpected EOF'],
  ['{"key"', 'unexpected EOF'],
  ['{"key":', 'unexpected EOF'],
  ['{"key":"a', 'unexpected EOF'],
  ['x', "invalid character 'x' looking for beginning of value"],
  ['{x', "invalid character 'x' looking for beginning of object key string"],
  ['{"key":x}', "invalid character 'x' looking for beginning of value"],
  ['{"key":"Zm9v",}', "invalid character '}' looking for beginning of object key string"],
  ['{"key" "Zm9v"}', "invalid character '\"' after object key"],
  ['{"key":"Zm9v" "x"}', "invalid character '\"' after object key:value pair"],
  ['{"key":"Zm9v"]', "invalid character ']' after object key:value pair"],
  ['{1:2}', "invalid character '1' looking for beginning of object key string"],
  ['{"key":"a\t"}', "invalid character '\\t' in string literal"],
  ['{"key":"\\x"}', "invalid character 'x' in string escape code"],
  ['{"key":tru}', "invalid character '}' in literal true (expecting 'e')"],
  ['{"key":nul}', "invalid character '}' in literal null (expecting 'l')"],
  ['{"limit":01}', "invalid character '1' after object key:value pair"],
  ['{"limit":-}', "invalid character '}' in numeric literal"],
  ['{"limit":1.}', "invalid character '}' after decimal point in numeric literal"],
  ['{"key":"Zm9"}', 'illegal base64 data at input byte 0'],
  ['{"key":"Zm9*"}', 'illegal base64 data at input byte 3'],
  ['{"key":"Zm9v="}', 'illegal base64 data at input byte 4'],
  ['{"key":"Zg="}', 'illegal base64 data at input byte 3'],
  ['{"key":"Z-_v"}', 'illegal base64 data at input byte 1'],
  ['{"key":"A"}', 'illegal base64 data at input byte 0'],
  ['{"key":"="}', 'illegal base64 data at input byte 0'],
  ['{"key":"\\u0141AAA"}', 'illegal base64 data at input byte 0'],
  ['{"key":["a"]}', 'json: cannot unmarshal string into Go value of type uint8'],
  ['{"key":[300]}', 'json: cannot unmarshal number 300 into Go value of type uint8'],
  ['{"key":{}}', 'json: cannot unmarshal object into Go value of type []uint8'],
  ['{"key":1}', 'json: cannot unmarshal number into Go value of type []uint8'],
  ['{"key":true}', 'json: cannot unmarshal bool into Go value of type []uint8'],
  ['{"limit":"x"}', "invalid character 'x' looking for beginning of value"],
  ['{"limit":""}', 'unexpected end of JSON input'],
  ['{"limit":"5x"}', "invalid character 'x' after top-level value"],
  ['{"limit":"1 2"}', "invalid character '2' after top-level value"],
  ['{"limit":1.5}', 'json: cannot unmarshal number 1.5 into Go value of type int64'],
  ['{"limit":1e1}', 'json: cannot unmarshal number 1e1 into Go value of type int64'],
  ['{"limit":"1.0"}', 'json: cannot unmarshal number 1.0 into Go value of type int64'],
  [
    '{"limit":9223372036854775808}',
    'json: cannot unmarshal number 9223372036854775808 into Go value of type int64',
  ],
  [
    '{"limit":"-9223372036854775809"}',
    'json: cannot unmarshal number -9223372036854775809 into Go value of type int64',
  ],
  ['{"limit":true}', 'json: cannot unmarshal bool into Go value of type int64'],
  ['{"limit":"true"}', 'json: cannot unmarshal bool into Go value of type int64'],
  ['{"limit":{}}', 'json: cannot unmarshal object into Go value of type int64'],
  ['{"limit":[]}', 'json: cannot unmarshal array into Go value of type int64'],
  ['{"limit":"{}"}', 'json: cannot unmarshal object into Go value of type int64'],
  ['{"serializable":"true"}', 'json: cannot unmarshal string into Go value of type bool'],
  ['{"serializable":1}', 'json: cannot unmarshal number into Go value of type bool'],
  ['{"sort_order":"BOGUS"}', 'unknown value "BOGUS" for enum etcdserverpb.RangeRequest_SortOrder'],
  ['{"sort_order":"1"}', 'unknown value "1" for enum etcdserverpb.RangeRequest_SortOrder'],
  [
    '{"sort_order":"constructor"}',
    'unknown value "constructor" for enum etcdserverpb.RangeRequest_SortOrder',
  ],
  [
    '{"sort_order":1.5}',
    'json: cannot unmarshal number 1.5 into Go value of type etcdserverpb.RangeRequest_SortOrder',
  ],
  [
    '{"sort_order":true}',
    'json: cannot unmarshal bool into Go value of type etcdserverpb.RangeRequest_SortOrder',
  ],
  [
    '{"sort_order":9999999999}',
    'json: cannot unmarshal number 9999999999 into Go value of type etcdserverpb.RangeRequest_SortOrder',
  ],
  ['{"key":"Zm9v","key":"*"}', 'illegal base64 data at input byte 0'],
];

test('a request that cannot be read gets the words of etcd', () => {
  for (const [body, text] of FAULTS) assert.equal(textOf(body), text, body);
  const txn = (body: string) => txnRequest(parseFirst(body));
  assert.equal(
    textOf('{"compare":{}}', txn),
    'json: cannot unmarshal object into Go value of type []json.RawMessage',
  );
  assert.equal(
    textOf('{"compare":[1]}', txn),
    'json: cannot unmarshal number into Go value of type map[string]json.RawMessage',
  );
  const alarm = (body: string) => alarmRequest(parseFirst(body));
  assert.equal(
    textOf('{"memberID":-1}', alarm),
    'json: cannot unmarshal number -1 into Go value of type uint64',
  );
});

test('what etcd takes is taken', () => {
  const key = new Uint8Array(Buffer.from('foo'));
  const plain = (body: string) => {
    const request = range(body);
    return { ...request, key: new Uint8Array(request.key) };
  };
  assert.deepEqual(plain('{"key":"Zm9v"}x'), { key });
  assert.deepEqual(plain('{"key":"*","key":"Zm9v"}'), { key });
  assert.deepEqual(plain('{"key":"Zm\\n9v"}'), { key });
  assert.deepEqual(plain('{"key":"Zm\\u0039v"}'), { key });
  assert.deepEqual(plain('{"key":[102,111,111]}'), { key });
  assert.deepEqual(plain('{"key":"Zm9v","limit":" 5 ","wat":{"a":[1.5,{}]}}'), { key, limit: 5 });
  assert.deepEqual(plain('{"key":"Zm9v","limit":"null","revision":null}'), { key, limit: 0 });
  assert.deepEqual(plain('{"key":"Zm9v","limit":9223372036854775807}'), {
    key,
    limit: Number.MAX_SAFE_INTEGER,
  });
  assert.deepEqual(plain('{"key":"Zm9v","sort_order":"ASCEND","sortTarget":3}'), {
    key,
    sortOrder: 'ascend',
    sortTarget: 'mod',
  });
  const rangeEnd = range('{"key":"Zm9v","range_end":"*","rangeEnd":"Zm9w"}').rangeEnd as Uint8Array;
  assert.equal(Buffer.from(rangeEnd).toString(), 'fop');
  for (const empty of ['', '   ', 'null', '{}', '{"Key":"Zm9v"}']) assert.equal(range(empty).key.length, 0);
});

test('lease ids keep every digit', () => {
  const lease = (source: string) =>
    txnRequest(parseFirst(`{"success":[{"request_put":{"key":"YQ==","lease":${source}}}]}`)).success[0];
  for (const id of ['9223372036854775807', '-9223372036854775808', '7587821338341077772', '42']) {
    for (const source of [id, `"${id}"`]) {
      const op = lease(source);
      assert.equal(op?.type === 'put' && op.put.lease, BigInt(id));
    }
  }
});

test('a txn with everything in it', () => {
  const body = `{"compare":[
      {"key":"YQ==","target":"VALUE","result":"NOT_EQUAL","value":"Yg=="},
      {"key":"YQ==","create_revision":"0","target":"CREATE","range_end":"Yg=="},
      {"key":"YQ==","target":99,"result":77},
      {"key":"YQ==","target":"LEASE","lease":"9007199254740993"}],
    "success":[{"request_range":{"key":"YQ=="}},{"requestDeleteRange":{"key":"YQ==","prevKv":true}},{}],
    "failure":[{"request_txn":{"success":[{"request_put":{}}]}}]}`;
  const txn = txnRequest(parseFirst(body));
  const bytes = (text: string) => Buffer.from(text);
  assert.deepEqual(txn.compare, [
    { key: bytes('a'), target: 'value', result: 'notEqual', operand: { kind: 'value', bytes: bytes('b') } },
    {
      key: bytes('a'),
      rangeEnd: bytes('b'),
      target: 'create',
      result: 'equal',
      operand: { kind: 'create', number: 0 },
    },
    { key: bytes('a'), target: 99, result: 77 },
    { key: bytes('a'), target: 'lease', result: 'equal', operand: { kind: 'lease', id: 9007199254740993n } },
  ]);
  assert.deepEqual(
    txn.success.map((op) => op.type),
    ['range', 'deleteRange', 'none'],
  );
  const nested = txn.failure[0];
  assert.ok(nested?.type === 'txn' && nested.txn.success[0]?.type === 'put');
  assert.equal(nested.txn.success[0].put.key.length, 0);
});

test('txns nested without end are refused, not a full stack', () => {
  const depth = 3000;
  const body = `${'{"success":[{"request_txn":'.repeat(depth)}{}${'}]}'.repeat(depth)}`;
  assert.equal(
    textOf(body, (text) => txnRequest(parseFirst(text))),
    'exceeded max depth',
  );
  const exact = `${'{"success":[{"request_txn":'.repeat(depth)}{"x":1.5}${'}]}'.repeat(depth)}`;
  assert.equal(
    textOf(exact, (text) => txnRequest(parseFirst(text))),
    'exceeded max depth',
  );
});

test('watch requests', () => {
  const watch = (body: string) => watchStreamRequest(parseFirst(body) ?? null);
  assert.deepEqual(watch('{}'), { type: 'none' });
  assert.deepEqual(watch('{"progress_request":{}}'), { type: 'progress' });
  assert.deepEqual(watch('{"cancel_request":{"watch_id":"-3"}}'), { type: 'cancel', watchId: -3n });
  assert.deepEqual(watch('{"create_request":{"filters":["NOPUT",1,7],"watchId":5,"fragment":true}}'), {
    type: 'create',
    watch: { key: new Uint8Array(0), filters: ['noput', 'nodelete'] },
    watchId: 5n,
    fragment: true,
  });
});

test('base64 survives a round trip, and is as strict as Go whatever is changed in it', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      assert.deepEqual(new Uint8Array(decodeBase64(encodeBase64(bytes))), bytes);
    }),
  );
  // A dumb twin: the grammar as one expression, once line breaks are out of the way.
  const strict = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
  const alphabet = fc.constantFrom(...'AZaz09+/==\n\r-_ *\u0141é'.split(''));
  fc.assert(
    fc.property(fc.array(alphabet, { maxLength: 10 }), (chars) => {
      const text = chars.join('');
      const plain = text.replace(/[\r\n]/g, '');
      let taken: Uint8Array | undefined;
      try {
        taken = decodeBase64(text);
      } catch (error) {
        assert.match((error as Error).message, /^illegal base64 data at input byte \d+$/);
      }
      assert.equal(taken !== undefined, strict.test(plain), JSON.stringify(text));
      if (taken !== undefined) assert.deepEqual(Buffer.from(taken), Buffer.from(plain, 'base64'));
    }),
    { numRuns: 5000 },
  );
});
