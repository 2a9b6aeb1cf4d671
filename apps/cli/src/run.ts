import { KvError } from '@muster/contract';
import type { ConnectSpec, EtcdClient } from './client.ts';
import { Exit, errorText, Failure } from './failure.ts';
import { FORMATS, GLOBAL_FLAGS, type Globals, withEnvironment } from './globals.ts';
import type { Io } from './io.ts';
import { type Call, isGroup, type Verb } from './line/command.ts';
import { parseLine } from './line/parse.ts';
import { checkedFormat, printerFor } from './print/printer.ts';
import { rootCommand } from './tree/root.ts';

const WITHOUT_TABLE = FORMATS.filter((format) => format !== 'table');

type Connect = (spec: ConnectSpec, globals: Globals, io: Io) => Promise<EtcdClient>;

type RunOptions = {
  /** What the program was called. */
  readonly name: string;
  readonly argv: readonly string[];
  readonly io: Io;
  readonly signal: AbortSignal;
  /** Instead of a connection over the network, in tests. */
  readonly connect?: Connect;
};

/** Runs one command line to its end, errors printed; resolves with the exit code. */
export async function run({ name, argv, io, signal, connect }: RunOptions): Promise<number> {
  const opened: Promise<EtcdClient>[] = [];
  const kept = (client: Promise<EtcdClient>) => {
    opened.push(client);
    return client;
  };
  try {
    const root = rootCommand(name);
    const parsed = parseLine(root, GLOBAL_FLAGS, argv);
    if (parsed.help || isGroup(parsed.command)) {
      const { helpText } = await import('./line/help.ts');
      io.out(helpText(root, parsed.path, parsed.command, GLOBAL_FLAGS));
      return Exit.SUCCESS;
    }
    const verb: Verb = parsed.command;
    const globals = withEnvironment(parsed.values, parsed.given, io.env, (text) =>
      io.err(`warning: ${text}\n`),
    );
    const format = checkedFormat(globals, verb.formats ?? WITHOUT_TABLE);
    const command = await verb.load();
    const call: Call = {
      flags: parsed.values,
      args: parsed.args,
      dashAt: parsed.dashAt,
      globals,
      io,
      signal,
      printer: printerFor(format, globals.hex, io),
      connect: (endpoints) => kept(open(globals, endpoints, io, connect)),
      dial: (spec) => kept(dial(spec, globals, io, connect)),
    };
    await command(call);
    return Exit.SUCCESS;
  } catch (error) {
    return report(error, io, signal);
  } finally {
    await Promise.allSettled(opened.map(async (client) => (await client).close()));
  }
}

async function open(
  globals: Globals,
  endpoints: readonly string[] | undefined,
  io: Io,
  connect: Connect | undefined,
): Promise<EtcdClient> {
  const { specOf } = await import('./client.ts');
  const spec = await specOf(globals, io);
  return dial({ ...spec, endpoints: endpoints ?? spec.endpoints }, globals, io, connect);
}

async function dial(
  spec: ConnectSpec,
  globals: Globals,
  io: Io,
  connect: Connect | undefined,
): Promise<EtcdClient> {
  if (connect) return connect(spec, globals, io);
  const { connectTo } = await import('./client.ts');
  return connectTo(spec, globals, io);
}

function report(error: unknown, io: Io, signal: AbortSignal): number {
  if (signal.aborted && !(error instanceof Failure)) return Exit.SUCCESS;
  const text = errorText(error);
  if (text !== '') io.err(`Error: ${text}\n`);
  if (error instanceof Failure) return error.exitCode;
  if (!(error instanceof KvError) && io.env.MUSTERCTL_DEBUG_STACK) io.err(`${(error as Error).stack}\n`);
  return isRefusedLogin(error) ? Exit.BAD_CONNECTION : Exit.ERROR;
}

/** Only Authenticate answers these: the client never got as far as the call. */
function isRefusedLogin(error: unknown): boolean {
  return error instanceof KvError && (error.code === 'AUTH_FAILED' || error.code === 'AUTH_NO_PASSWORD_USER');
}
