import type {
  DeleteRangeResult,
  Event,
  KeyValue,
  PutResult,
  RangeResult,
  ResponseHeader,
  ResponseOp,
  TxnResult,
  WatchResponse,
  WithHeader,
} from '@muster/kv';
import { type GoValue, goQuote, hexEscaped, omitEmpty } from './go-text.ts';
import { headerFields, headerJson } from './header.ts';
import type { SimpleStyle, Text, View } from './printer.ts';

type GetStyle = { readonly valueOnly: boolean; readonly countOnly: boolean };

export function putView(result: WithHeader<PutResult>): View {
  return {
    simple: (style) => ['OK\n', ...(result.prevKv ? pairLines(result.prevKv, style) : [])],
    fields: () => [headerFields(result.header), ...(result.prevKv ? [kvFields('Prev', result.prevKv)] : [])],
    message: () => ({ name: 'PutResponse', fields: putFields(result, headerJson(result.header)) }),
  };
}

export function getView(result: WithHeader<RangeResult>, get: GetStyle): View {
  return {
    simple: (style) => (get.countOnly ? [] : rangeLines(result, style, get.valueOnly)),
    fields: () =>
      get.countOnly ? [`"Count" : ${result.count}\n`] : [rangeFieldLines(result, result.header)],
    message: () => ({ name: 'RangeResponse', fields: rangeFields(result, headerJson(result.header)) }),
  };
}

export function deleteView(result: WithHeader<DeleteRangeResult>): View {
  return {
    simple: (style) => deleteLines(result, style),
    fields: () => [deleteFieldLines(result, result.header)],
    message: () => ({ name: 'DeleteRangeResponse', fields: deleteFields(result, headerJson(result.header)) }),
  };
}

export function txnView(result: WithHeader<TxnResult>): View {
  return {
    simple: (style) => [
      result.succeeded ? 'SUCCESS\n' : 'FAILURE\n',
      ...result.responses.flatMap((op) => ['\n', ...opLines(op, style)]),
    ],
    fields: () => [
      headerFields(result.header),
      `"Succeeded" : ${result.succeeded}\n`,
      ...result.responses.map((op) => opFieldLines(op, result.header)),
    ],
    message: () => ({ name: 'TxnResponse', fields: txnFields(result, headerJson(result.header)) }),
  };
}

/** Of one message of a watch that has events or progress. */
export function watchView(header: ResponseHeader, events: readonly Event[]): View {
  return {
    simple: (style) =>
      events.length === 0
        ? [`progress notify: ${header.revision ?? 0}\n`]
        : events.flatMap((event) => [
            `${event.type === 'put' ? 'PUT' : 'DELETE'}\n`,
            ...(event.prevKv ? pairLines(event.prevKv, style) : []),
            ...pairLines(event.kv, style),
          ]),
    fields: () => [headerFields(header), ...events.map(eventFieldLines)],
    json: () => ({
      Header: headerJson(header) ?? {},
      Events: events.map(eventFields),
      CompactRevision: 0,
      Canceled: false,
      Created: false,
    }),
    message: () => ({
      name: 'WatchResponse',
      fields: omitEmpty({ header: headerJson(header), events: events.map(eventFields) }),
    }),
  };
}

export function canceledWatchText(response: Extract<WatchResponse, { type: 'canceled' }>): string {
  return response.compactRevision > 0
    ? 'etcdserver: mvcc: required revision has been compacted'
    : response.reason;
}

function pairLines(kv: KeyValue, style: SimpleStyle): Text {
  return [shown(kv.key, style), '\n', shown(kv.value, style), '\n'];
}

function shown(bytes: Uint8Array, style: SimpleStyle): string | Uint8Array {
  return style.hex ? hexEscaped(bytes) : bytes;
}

function rangeLines(result: RangeResult, style: SimpleStyle, valueOnly = false): Text {
  return result.kvs.flatMap((kv) => (valueOnly ? [shown(kv.value, style), '\n'] : pairLines(kv, style)));
}

function deleteLines(result: DeleteRangeResult, style: SimpleStyle): Text {
  return [`${result.deleted}\n`, ...result.prevKvs.flatMap((kv) => pairLines(kv, style))];
}

function opLines(op: ResponseOp, style: SimpleStyle): Text {
  if (op.type === 'put') return ['OK\n', ...(op.put.prevKv ? pairLines(op.put.prevKv, style) : [])];
  if (op.type === 'deleteRange') return deleteLines(op.deleteRange, style);
  if (op.type === 'range') return rangeLines(op.range, style);
  return op.txn.responses.flatMap((inner) => opLines(inner, style));
}

/** Headers inside a transaction carry nothing but the revision. */
function inner(revision: number): ResponseHeader {
  return { clusterId: 0n, memberId: 0n, revision, raftTerm: 0 };
}

function opFieldLines(op: ResponseOp, outer: ResponseHeader): string {
  if (op.type === 'put') {
    return headerFields(inner(op.put.revision)) + (op.put.prevKv ? kvFields('Prev', op.put.prevKv) : '');
  }
  if (op.type === 'deleteRange') return deleteFieldLines(op.deleteRange, inner(op.deleteRange.revision));
  if (op.type === 'range') return rangeFieldLines(op.range, inner(op.range.revision));
  return op.txn.responses.map((one) => opFieldLines(one, outer)).join('');
}

function rangeFieldLines(result: RangeResult, header: ResponseHeader): string {
  const kvs = result.kvs.map((kv) => kvFields('', kv)).join('');
  return `${headerFields(header)}${kvs}"More" : ${result.more}\n"Count" : ${result.count}\n`;
}

function deleteFieldLines(result: DeleteRangeResult, header: ResponseHeader): string {
  const kvs = result.prevKvs.map((kv) => kvFields('Prev', kv)).join('');
  return `${headerFields(header)}"Deleted" : ${result.deleted}\n${kvs}`;
}

function eventFieldLines(event: Event): string {
  const prev = event.prevKv ? kvFields('Prev', event.prevKv) : '';
  return `"Type" : ${event.type === 'put' ? 'PUT' : 'DELETE'}\n${prev}${kvFields('', event.kv)}`;
}

function kvFields(prefix: string, kv: KeyValue): string {
  return (
    `"${prefix}Key" : ${goQuote(kv.key)}\n"${prefix}CreateRevision" : ${kv.createRevision}\n` +
    `"${prefix}ModRevision" : ${kv.modRevision}\n"${prefix}Version" : ${kv.version}\n` +
    `"${prefix}Value" : ${goQuote(kv.value)}\n"${prefix}Lease" : ${kv.lease}\n`
  );
}

function kvJson(kv: KeyValue): GoValue {
  return omitEmpty({
    key: kv.key,
    create_revision: kv.createRevision,
    mod_revision: kv.modRevision,
    version: kv.version,
    value: kv.value,
    lease: kv.lease,
  });
}

function eventFields(event: Event): GoValue {
  return omitEmpty({
    type: event.type === 'delete' ? 1 : 0,
    kv: kvJson(event.kv),
    prev_kv: event.prevKv && kvJson(event.prevKv),
  });
}

type HeaderJson = GoValue | undefined;
type Members = { [name: string]: GoValue };

function putFields(result: PutResult, header: HeaderJson): Members {
  return omitEmpty({ header, prev_kv: result.prevKv && kvJson(result.prevKv) });
}

function rangeFields(result: RangeResult, header: HeaderJson): Members {
  return omitEmpty({ header, kvs: result.kvs.map(kvJson), more: result.more, count: result.count });
}

function deleteFields(result: DeleteRangeResult, header: HeaderJson): Members {
  return omitEmpty({ header, deleted: result.deleted, prev_kvs: result.prevKvs.map(kvJson) });
}

function txnFields(result: TxnResult, header: HeaderJson): Members {
  return omitEmpty({ header, succeeded: result.succeeded, responses: result.responses.map(opFields) });
}

/** Go prints a oneof as a member named after it, with a member named after the choice. */
function opFields(op: ResponseOp): GoValue {
  if (op.type === 'put') {
    return { Response: { ResponsePut: putFields(op.put, headerJson(inner(op.put.revision))) } };
  }
  if (op.type === 'range') {
    return { Response: { ResponseRange: rangeFields(op.range, headerJson(inner(op.range.revision))) } };
  }
  if (op.type === 'deleteRange') {
    const header = headerJson(inner(op.deleteRange.revision));
    return { Response: { ResponseDeleteRange: deleteFields(op.deleteRange, header) } };
  }
  return { Response: { ResponseTxn: txnFields(op.txn, headerJson(inner(op.txn.revision))) } };
}
