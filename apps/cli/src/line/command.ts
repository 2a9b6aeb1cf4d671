import type { ConnectSpec, EtcdClient } from '../client.ts';
import type { Format, Globals } from '../globals.ts';
import type { Io } from '../io.ts';
import type { Printer } from '../print/printer.ts';
import type { Flags, FlagValues } from './flag.ts';

/** What a running command is given. */
export type Call<F extends Flags = Flags> = {
  readonly flags: FlagValues<F>;
  readonly args: readonly string[];
  /** How many of `args` stood before `--`; undefined without one. */
  readonly dashAt: number | undefined;
  readonly globals: Globals;
  readonly io: Io;
  /** Aborts at SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  readonly printer: Printer;
  /** Connects to the endpoints of the flags, or to those given. Closed when the command ends. */
  connect(endpoints?: readonly string[]): Promise<EtcdClient>;
  /** Connects to another cluster; closed with the rest. */
  dial(spec: ConnectSpec): Promise<EtcdClient>;
};

export type Run<F extends Flags> = (call: Call<F>) => Promise<void>;

/** A verb; `load` brings its code in when it runs. */
export type Verb<F extends Flags = Flags> = {
  readonly name: string;
  readonly summary: string;
  /** Arguments as the usage line shows them. */
  readonly usage: string;
  readonly description?: string;
  readonly flags: F;
  /** Output formats it has; absent: all but tables. */
  readonly formats?: readonly Format[];
  load(): Promise<Run<F>>;
};

/** Verbs under one name. */
export type Group = {
  readonly name: string;
  readonly summary: string;
  readonly children: readonly Command[];
};

export type Command = Verb | Group;

export function isGroup(command: Command): command is Group {
  return 'children' in command;
}

/** Ties a verb's code to its flags, then forgets which flags they are. */
export function verb<F extends Flags>(definition: Verb<F>): Verb {
  return definition as unknown as Verb;
}
