import type { Event, WatchHandle, WatchRequest } from '@muster/kv';
import { runProgram } from '../child.ts';
import type { EtcdClient } from '../client.ts';
import { watchMessages } from '../events.ts';
import { badArgs, Exit, errorText, Failure } from '../failure.ts';
import { readLines } from '../io.ts';
import type { Call, Run } from '../line/command.ts';
import type { FlagValues } from '../line/flag.ts';
import { parseLine } from '../line/parse.ts';
import { goQuote } from '../print/go-text.ts';
import { canceledWatchText, watchView } from '../print/kv-views.ts';
import { rangeOf } from '../range.ts';
import { KV_COMMANDS, type WATCH_FLAGS } from '../tree/kv.ts';
import { splitWords } from './txn-lines.ts';

type WatchCall = Call<typeof WATCH_FLAGS>;
type WatchFlags = FlagValues<typeof WATCH_FLAGS>;
type Program = readonly [string, ...string[]] | undefined;
type Wanted = { readonly request: WatchRequest; readonly program: Program };

export const watch: Run<typeof WATCH_FLAGS> = async (call) => {
  if (call.flags.interactive) return interactive(call);
  const wanted = wantedOf(call.args, call.dashAt, call.flags, call.io.env);
  await follow(call, await call.connect(), wanted);
};

/** Key and end come from the arguments before `--`, or else from the environment; the program stands behind. */
function wantedOf(
  args: readonly string[],
  dashAt: number | undefined,
  flags: WatchFlags,
  env: Readonly<Record<string, string | undefined>>,
): Wanted {
  const fromEnv = [env.ETCDCTL_WATCH_KEY, env.ETCDCTL_WATCH_RANGE_END].filter((text) => text);
  let words = dashAt === undefined ? args : args.slice(0, dashAt);
  if (words.length === 0) words = fromEnv as string[];
  const program = dashAt === undefined ? [] : args.slice(dashAt);
  if (words.length === 0 || words.length > 2) throw badArgs('bad number of arguments');
  if (dashAt !== undefined && program.length === 0) {
    throw badArgs('empty command: expected the program to run behind --');
  }
  const request: WatchRequest = {
    ...rangeOf(words, { prefix: flags.prefix, 'from-key': false }),
    ...(flags.rev > 0 && { startRevision: flags.rev }),
    ...(flags['prev-kv'] && { prevKv: true }),
    ...(flags['progress-notify'] && { progressNotify: true }),
  };
  return { request, program: program.length === 0 ? undefined : (program as unknown as Program) };
}

/** Prints until the server cancels or the command is stopped. */
async function follow(
  call: WatchCall,
  client: EtcdClient,
  { request, program }: Wanted,
  started?: (handle: WatchHandle) => void,
): Promise<void> {
  for await (const message of watchMessages(client.api, request, call.signal, {}, started)) {
    if (message.type === 'canceled') {
      call.io.err(`watch was canceled (${canceledWatchText(message)})\n`);
      throw new Failure('watch is canceled by the server', Exit.INTERRUPTED);
    }
    if (message.type === 'progress') await call.printer.print(watchView(message.header, []));
    if (message.type !== 'events') continue;
    const { events, headerRevision } = message.batch;
    const header = { ...message.header, revision: headerRevision };
    await call.printer.print(watchView(header, events));
    if (program) for (const event of events) await runFor(program, event, headerRevision);
  }
}

async function runFor(program: NonNullable<Program>, event: Event, revision: number): Promise<void> {
  await runProgram(program, {
    ETCD_WATCH_REVISION: String(revision),
    ETCD_WATCH_EVENT_TYPE: goQuote(event.type === 'put' ? 'PUT' : 'DELETE'),
    ETCD_WATCH_KEY: goQuote(event.kv.key),
    ETCD_WATCH_VALUE: goQuote(event.kv.value),
  }).catch((error: unknown) => {
    throw new Failure(`command ${goQuote(program.join(' '))} error (${errorText(error)})`);
  });
}

const COMMANDS = { name: 'watch -i', summary: '', children: KV_COMMANDS };

/** Watches of one session share a connection; a line that is not understood is named and passed over. */
async function interactive(call: WatchCall): Promise<void> {
  const client = await call.connect();
  const handles: WatchHandle[] = [];
  const running: Promise<void>[] = [];
  let failed: unknown;
  const stop = new AbortController();
  const signal = AbortSignal.any([call.signal, stop.signal]);
  for await (const line of readLines(call.io.stdin, signal)) {
    const words = splitWords(line) ?? [];
    if (words[0] === 'progress' && words.length === 1) {
      for (const handle of handles) handle.requestProgress();
      continue;
    }
    const wanted = parseWatchLine(call, words);
    if (!wanted) continue;
    const following = follow({ ...call, signal }, client, wanted, (handle) => handles.push(handle));
    running.push(
      following.catch((error: unknown) => {
        failed ??= error;
        stop.abort();
      }),
    );
  }
  stop.abort();
  await Promise.all(running);
  if (failed !== undefined) throw failed;
  if (call.signal.aborted) return;
  throw new Failure('Error reading watch request line: EOF', Exit.INVALID_INPUT);
}

function parseWatchLine(call: WatchCall, words: readonly string[]): Wanted | undefined {
  const shown = words.join(' ');
  if (words[0] !== 'watch') {
    call.io.err(
      `Invalid command ${shown} (${words.length === 0 ? 'watch and progress supported' : 'only support watch'})\n`,
    );
    return undefined;
  }
  if (words.length < 2) {
    call.io.err(`Invalid command ${shown} (command type or key is not provided)\n`);
    return undefined;
  }
  try {
    const { args, dashAt, values } = parseLine(COMMANDS, {}, words);
    return wantedOf(args, dashAt, values as WatchFlags, call.io.env);
  } catch (error) {
    call.io.err(`Invalid command ${shown} (${errorText(error).split('\n')[0] as string})\n`);
    return undefined;
  }
}
