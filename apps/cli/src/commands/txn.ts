import type { TxnRequest } from '@muster/kv';
import { badArgs, Exit, Failure } from '../failure.ts';
import { readLines } from '../io.ts';
import type { Run } from '../line/command.ts';
import { txnView } from '../print/kv-views.ts';
import type { TXN_FLAGS } from '../tree/kv.ts';
import { parseCompare, parseOperation } from './txn-lines.ts';

export const txn: Run<typeof TXN_FLAGS> = async (call) => {
  if (call.args.length > 0) throw badArgs('txn command does not accept argument');
  const lines = readLines(call.io.stdin, call.signal);
  const prompt = (text: string) => {
    if (call.flags.interactive) call.io.out(`${text}:\n`);
  };
  prompt('compares');
  const compare = await paragraph(lines, parseCompare);
  prompt('success requests (get, put, del)');
  const success = await paragraph(lines, parseOperation);
  prompt('failure requests (get, put, del)');
  const failure = await paragraph(lines, parseOperation);
  const request: TxnRequest = { compare, success, failure };
  const { api, options } = await call.connect();
  await call.printer.print(txnView(await api.txn(request, options(call.signal))));
};

/** Lines up to an empty one. */
async function paragraph<T>(lines: AsyncGenerator<string>, parse: (line: string) => T): Promise<T[]> {
  const parsed: T[] = [];
  for (;;) {
    const next = await lines.next();
    if (next.done) throw new Failure('EOF', Exit.INVALID_INPUT);
    if (next.value.trim() === '') return parsed;
    parsed.push(parse(next.value.trim()));
  }
}
