import { type Command, type Group, isGroup } from './command.ts';
import type { Flag, Flags } from './flag.ts';

/** The page of one command, in etcdctl's layout. */
export function helpText(root: Group, path: readonly string[], command: Command, globals: Flags): string {
  const name = path.length === 0 ? root.name : path.join(' ');
  const call = [root.name, ...path].join(' ');
  const usage = isGroup(command)
    ? `${call}${path.length === 0 ? ' [flags]' : ' <subcommand> [flags]'}`
    : [call, command.usage, '[flags]'].filter((part) => part !== '').join(' ');
  const sections = [
    `NAME:\n\t${name} - ${command.summary}\n`,
    `USAGE:\n\t${usage}\n`,
    ...(isGroup(command) ? [commandList(command)] : []),
    ...(!isGroup(command) && command.description ? [`DESCRIPTION:\n${wrapped(command.description)}\n`] : []),
    `OPTIONS:\n${flagLines({ ...(isGroup(command) ? {} : command.flags), ...(path.length === 0 ? globals : {}) }, name)}`,
    ...(path.length === 0 ? [] : [`GLOBAL OPTIONS:\n${flagLines(globals, undefined)}`]),
  ];
  return sections.join('\n');
}

function commandList(group: Group): string {
  const rows = group.children.flatMap((child) =>
    isGroup(child)
      ? child.children.map((one) => [`${child.name} ${one.name}`, one.summary] as const)
      : [[child.name, child.summary] as const],
  );
  return `COMMANDS:\n${aligned(rows.map(([left, right]) => [`\t${left}`, right]))}`;
}

function flagLines(flags: Flags, helpOf: string | undefined): string {
  const rows = Object.entries(flags).map(([name, flag]) => [flagLabel(name, flag), flagHelp(flag)] as const);
  if (helpOf !== undefined) rows.push(['  -h, --help[=false]', `help for ${helpOf}`]);
  return aligned(rows.sort(([a], [b]) => (a.slice(6) < b.slice(6) ? -1 : 1)));
}

function flagLabel(name: string, flag: Flag): string {
  const start = flag.short ? `  -${flag.short}, --${name}` : `      --${name}`;
  if (flag.kind === 'bool') return `${start}[=${flag.fallback}]`;
  if (flag.kind === 'string') return `${start}="${flag.fallback}"`;
  if (flag.kind === 'duration') return `${start}=${(flag.fallback as { text: string }).text}`;
  if (flag.kind === 'strings') return `${start}=[${(flag.fallback as readonly string[]).join(',')}]`;
  return `${start}=${flag.fallback}`;
}

function flagHelp(flag: Flag): string {
  const choices = flag.choices && !flag.help.includes(flag.choices[0] as string);
  return choices ? `${flag.help} (${flag.choices.join(', ')})` : flag.help;
}

function aligned(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return rows.map(([left, right]) => `${left.padEnd(width)}${right}\n`).join('');
}

const TEXT_WIDTH = 96;

function wrapped(text: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + word.length + 1 > TEXT_WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].map((one) => `\t${one}`).join('\n');
}
