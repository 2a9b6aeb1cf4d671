import type { DeleteRangeRequest, PutRequest, RangeRequest, SortOrder, SortTarget } from '@muster/kv';
import { badArgs, Exit, Failure } from '../failure.ts';
import { readAll } from '../io.ts';
import type { Run } from '../line/command.ts';
import type { FlagValues } from '../line/flag.ts';
import { decimalOf, leaseIdOf } from '../numbers.ts';
import { deleteView, getView, putView } from '../print/kv-views.ts';
import { bytesOf, rangeOf } from '../range.ts';
import type { COMPACTION_FLAGS, DEL_FLAGS, GET_FLAGS, PUT_FLAGS } from '../tree/kv.ts';

const PUT_ARGS = 'put command needs 1 argument and input from stdin or 2 arguments';

export const put: Run<typeof PUT_FLAGS> = async (call) => {
  const { args, flags } = call;
  const request =
    args.length === 1 && !flags['ignore-value']
      ? putRequest([args[0] as string, await valueOfInput(call.io.stdin)], flags)
      : putRequest(args, flags);
  const { api, options } = await call.connect();
  await call.printer.print(putView(await api.put(request, options(call.signal))));
};

async function valueOfInput(stdin: NodeJS.ReadableStream): Promise<Uint8Array> {
  const value = await readAll(stdin);
  if (value.length === 0) throw badArgs(PUT_ARGS);
  return value;
}

/** Also of a transaction's lines, whose values are always arguments. */
export function putRequest(
  args: readonly (string | Uint8Array)[],
  flags: FlagValues<typeof PUT_FLAGS>,
): PutRequest {
  const [key, value] = args;
  if (key === undefined) throw badArgs(PUT_ARGS);
  const lease = leaseIdOf(flags.lease, 'bad lease ID');
  if (flags['ignore-value'] && args.length > 1) {
    throw badArgs("put command needs only 1 argument when 'ignore-value' is set");
  }
  if (!flags['ignore-value'] && value === undefined) throw badArgs(PUT_ARGS);
  return {
    key: asBytes(key),
    ...(value !== undefined && { value: asBytes(value) }),
    ...(lease !== 0n && { lease }),
    ...(flags['prev-kv'] && { prevKv: true }),
    ...(flags['ignore-value'] && { ignoreValue: true }),
    ...(flags['ignore-lease'] && { ignoreLease: true }),
  };
}

function asBytes(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? bytesOf(value) : value;
}

export const get: Run<typeof GET_FLAGS> = async (call) => {
  const { flags } = call;
  const request = getRequest(call.args, flags);
  if (flags['print-value-only'] && call.printer.format !== 'simple') {
    throw badArgs('print-value-only is only for `--write-out=simple`');
  }
  const { api, options } = await call.connect();
  const result = await api.range(request, options(call.signal));
  await call.printer.print(
    getView(result, { valueOnly: flags['print-value-only'], countOnly: flags['count-only'] }),
  );
};

export function getRequest(args: readonly string[], flags: FlagValues<typeof GET_FLAGS>): RangeRequest {
  if (args.length === 0) {
    throw badArgs('get command needs one argument as key and an optional argument as range_end');
  }
  if (flags['keys-only'] && flags['count-only']) {
    throw badArgs('`--keys-only` and `--count-only` cannot be set at the same time, choose one');
  }
  const range = rangeOf(args, flags);
  return {
    ...range,
    ...sortOf(flags.order, flags['sort-by']),
    ...(flags.limit !== 0 && { limit: flags.limit }),
    ...(flags.rev > 0 && { revision: flags.rev }),
    ...(isSerializable(flags.consistency) && { serializable: true }),
    ...(flags['keys-only'] && { keysOnly: true }),
    ...(flags['count-only'] && { countOnly: true }),
    ...(flags['min-mod-rev'] > 0 && { minModRevision: flags['min-mod-rev'] }),
    ...(flags['max-mod-rev'] > 0 && { maxModRevision: flags['max-mod-rev'] }),
    ...(flags['min-create-rev'] > 0 && { minCreateRevision: flags['min-create-rev'] }),
    ...(flags['max-create-rev'] > 0 && { maxCreateRevision: flags['max-create-rev'] }),
  };
}

function isSerializable(consistency: string): boolean {
  if (consistency === 's') return true;
  if (consistency === 'l') return false;
  throw new Failure(`unknown consistency flag ${JSON.stringify(consistency)}`, Exit.BAD_FEATURE);
}

const ORDERS: ReadonlyMap<string, SortOrder> = new Map([
  ['', 'none'],
  ['ASCEND', 'ascend'],
  ['DESCEND', 'descend'],
]);
const TARGETS: ReadonlyMap<string, SortTarget> = new Map([
  ['', 'key'],
  ['KEY', 'key'],
  ['CREATE', 'create'],
  ['MODIFY', 'mod'],
  ['VALUE', 'value'],
  ['VERSION', 'version'],
]);

/** A target without an order sorts ascending; keys ascending is how they come anyway. */
function sortOf(order: string, by: string): Pick<RangeRequest, 'sortOrder' | 'sortTarget'> {
  const sortOrder = ORDERS.get(order.toUpperCase());
  if (!sortOrder) throw new Failure(`bad sort order ${order}`, Exit.BAD_FEATURE);
  const sortTarget = TARGETS.get(by.toUpperCase());
  if (!sortTarget) throw new Failure(`bad sort target ${by}`, Exit.BAD_FEATURE);
  if (sortTarget === 'key') return sortOrder === 'descend' ? { sortOrder, sortTarget } : {};
  return { sortOrder: sortOrder === 'none' ? 'ascend' : sortOrder, sortTarget };
}

export const del: Run<typeof DEL_FLAGS> = async (call) => {
  const request = deleteRequest(call.args, call.flags);
  const { api, options } = await call.connect();
  await call.printer.print(deleteView(await api.deleteRange(request, options(call.signal))));
};

export function deleteRequest(
  args: readonly string[],
  flags: FlagValues<typeof DEL_FLAGS>,
): DeleteRangeRequest {
  if (args.length === 0 || args.length > 2) {
    throw badArgs('del command needs one argument as key and an optional argument as range_end');
  }
  if (flags.range && args.length < 2) throw badArgs('`--range` needs two arguments: key and range_end');
  return { ...rangeOf(args, flags), ...(flags['prev-kv'] && { prevKv: true }) };
}

export const compaction: Run<typeof COMPACTION_FLAGS> = async (call) => {
  const [text] = call.args;
  if (text === undefined || call.args.length !== 1) throw badArgs('compaction command needs 1 argument');
  const revision = decimalOf(text, (reason) => new Failure(reason));
  const { api, options } = await call.connect();
  // Removal of many revisions takes as long as it takes.
  const bounds = call.flags.physical ? { signal: call.signal } : options(call.signal);
  await api.compact({ revision, ...(call.flags.physical && { physical: true }) }, bounds);
  call.io.out(`compacted revision ${revision}\n`);
};
