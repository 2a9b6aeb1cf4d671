import { Exit, Failure } from '../failure.ts';
import type { Format, Globals } from '../globals.ts';
import type { Io } from '../io.ts';
import { type GoValue, goJson } from './go-text.ts';

/** Text and bytes, written one behind the other. */
export type Text = readonly (string | Uint8Array)[];

export type TableView = { readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] };

/** A message of etcd's protocol: its name, and its fields under their proto names. */
export type MessageView = { readonly name: string; readonly fields: { readonly [name: string]: GoValue } };

/** One result in every format that it has. `json` absent is the message's own. */
export type View = {
  simple(style: SimpleStyle): Text;
  fields?(): Text;
  json?(): GoValue;
  message?(): MessageView;
  table?(): TableView;
};

export type SimpleStyle = { readonly hex: boolean };

export type Printer = { readonly format: Format; print(view: View): Promise<void> };

export function checkedFormat(globals: Globals, supported: readonly Format[]): Format {
  const format = globals['write-out'] as Format;
  if (!(['simple', 'fields', 'json', 'protobuf', 'table'] as readonly string[]).includes(format)) {
    throw new Failure('unsupported output format', Exit.BAD_FEATURE);
  }
  if (!supported.includes(format)) {
    throw new Failure(`${format} not supported as output format`, Exit.BAD_FEATURE);
  }
  return format;
}

export function printerFor(format: Format, hex: boolean, io: Io): Printer {
  return {
    format,
    async print(view) {
      write(io, await rendered(view, format, hex));
      await io.drained();
    },
  };
}

async function rendered(view: View, format: Format, hex: boolean): Promise<Text> {
  if (format === 'simple') return view.simple({ hex });
  if (format === 'fields' && view.fields) return view.fields();
  if (format === 'json') {
    const value = view.json?.() ?? view.message?.().fields;
    if (value !== undefined) return [goJson(value), '\n'];
  }
  if (format === 'table' && view.table) {
    const { formatTable } = await import('./table.ts');
    return [formatTable(view.table())];
  }
  if (format === 'protobuf' && view.message) {
    const { encodeMessage } = await import('@muster/wire/messages');
    const { name, fields } = view.message();
    return [encodeMessage(name, fields)];
  }
  throw new Failure(`${format} not supported as output format`, Exit.BAD_FEATURE);
}

function write(io: Io, text: Text): void {
  if (text.length === 0) return;
  io.out(text.every((part) => typeof part === 'string') ? text.join('') : joined(text));
}

function joined(text: Text): Uint8Array {
  return Buffer.concat(text.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}
