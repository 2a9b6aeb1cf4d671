import { GLOBAL_FLAGS } from '../globals.ts';
import { type Command, isGroup, type Run } from '../line/command.ts';
import type { Flag, Flags } from '../line/flag.ts';
import type { COMPLETION_FLAGS } from '../tree/other.ts';
import { rootCommand } from '../tree/root.ts';

type Shell = 'bash' | 'fish' | 'zsh';

export function completionFor(shell: Shell): Run<typeof COMPLETION_FLAGS> {
  return async (call) => {
    const name = call.io.env.MUSTERCTL_NAME || 'musterctl';
    const nodes = nodesOf(name);
    const describe = !call.flags['no-descriptions'];
    const script = { bash, fish, zsh }[shell];
    call.io.out(script(name, nodes, describe));
  };
}

/** A place in the tree: what may follow it. */
type Node = {
  readonly path: readonly string[];
  readonly words: readonly (readonly [string, string])[];
  readonly flags: Flags;
};

function nodesOf(name: string): Node[] {
  const walk = (command: Command, path: readonly string[]): Node[] =>
    isGroup(command)
      ? [
          {
            path,
            words: command.children.map((child) => [child.name, child.summary] as const),
            flags: GLOBAL_FLAGS,
          },
          ...command.children.flatMap((child) => walk(child, [...path, child.name])),
        ]
      : [{ path, words: [], flags: { ...GLOBAL_FLAGS, ...command.flags } }];
  return walk(rootCommand(name), []);
}

const HEAD = (shell: string, name: string) => `# ${shell} completion for ${name}; load with: `;

function identifier(name: string): string {
  return name.replace(/[^A-Za-z0-9]/g, '_');
}

/** Words of the line that are flags are passed over to find the place in the tree. */
function bash(name: string, nodes: readonly Node[]): string {
  const own = `_${identifier(name)}_complete`;
  const cases = nodes.map(({ path, words, flags }) => {
    const names = words.map(([word]) => word).join(' ');
    return `    '${path.join(' ')}') words='${names}'; flags='${flagWords(flags).join(' ')}' ;;`;
  });
  return `${HEAD('bash', name)}source <(${name} completion bash)
${own}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} place='' word words flags i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $word in -*|=) continue ;; esac
    case " ${[...new Set(nodes.slice(1).map(({ path }) => path.join(' ')))].join(' | ')} " in
      *" \${place:+$place }$word "*) place=\${place:+$place }$word ;;
    esac
  done
  case $prev in
${valueCases(nodes)}  esac
  case $place in
${cases.join('\n')}
    *) words=''; flags='' ;;
  esac
  case $cur in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
  esac
}
complete -o default -F ${own} ${name}
`;
}

function valueCases(nodes: readonly Node[]): string {
  const flags = Object.entries(allFlags(nodes));
  const lines = flags.flatMap(([flag, { short, choices, file }]) => {
    const names = short ? `--${flag}|-${short}` : `--${flag}`;
    if (choices)
      return [`    ${names}) COMPREPLY=($(compgen -W '${choices.join(' ')}' -- "$cur")); return ;;\n`];
    return file ? [`    ${names}) COMPREPLY=($(compgen -f -- "$cur")); return ;;\n`] : [];
  });
  return lines.join('');
}

function allFlags(nodes: readonly Node[]): Record<string, Flag> {
  return Object.assign({}, ...nodes.map(({ flags }) => flags)) as Record<string, Flag>;
}

function flagWords(flags: Flags): string[] {
  return ['--help', ...Object.keys(flags).map((flag) => `--${flag}`)];
}

function fish(name: string, nodes: readonly Node[], describe: boolean): string {
  const lines = [`${HEAD('fish', name)}${name} completion fish | source`, `complete -c ${name} -f`];
  const text = (summary: string) => (describe ? ` -d ${quoted(summary)}` : '');
  for (const { path, words, flags } of nodes) {
    const [first, second] = path;
    const groups = words.map(([word]) => word).join(' ');
    const when =
      first === undefined
        ? '__fish_use_subcommand'
        : second === undefined && words.length > 0
          ? `__fish_seen_subcommand_from ${first}; and not __fish_seen_subcommand_from ${groups}`
          : `__fish_seen_subcommand_from ${first}${second ? `; and __fish_seen_subcommand_from ${second}` : ''}`;
    for (const [word, summary] of words) {
      lines.push(`complete -c ${name} -n '${when}' -a ${word}${text(summary)}`);
    }
    const own = path.length === 0 ? GLOBAL_FLAGS : without(flags, GLOBAL_FLAGS);
    for (const [flag, { short, help, kind, choices, file }] of Object.entries(own as Flags)) {
      const condition = path.length === 0 ? '' : ` -n '${when}'`;
      const value = choices
        ? ` -x -a '${choices.join(' ')}'`
        : file
          ? ' -r -F'
          : kind === 'bool'
            ? ''
            : ' -x';
      lines.push(
        `complete -c ${name}${condition} -l ${flag}${short ? ` -s ${short}` : ''}${value}${text(help)}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

function without(flags: Flags, others: Flags): Flags {
  return Object.fromEntries(Object.entries(flags).filter(([flag]) => !Object.hasOwn(others, flag)));
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

function zsh(name: string, nodes: readonly Node[], describe: boolean): string {
  const own = `_${identifier(name)}`;
  const item = (word: string, help: string) =>
    describe ? zshQuoted(`${word.replaceAll(':', '\\:')}:${help}`) : zshQuoted(word);
  const cases = nodes.map(({ path, words, flags }) => {
    const commands = words.map(([word, summary]) => item(word, summary)).join(' ');
    const options = Object.entries(flags)
      .map(([flag, { help }]) => item(`--${flag}`, help))
      .join(' ');
    return `    '${path.join(' ')}') commands=(${commands}); options=(${options}) ;;`;
  });
  const places = nodes.slice(1).map(({ path }) => `'${path.join(' ')}'`);
  return `#compdef ${name}
${HEAD('zsh', name)}source <(${name} completion zsh)
${own}() {
  local place='' word
  local -a commands options places
  places=(${places.join(' ')})
  for word in \${words[2,CURRENT-1]}; do
    [[ $word == -* ]] && continue
    (( \${places[(Ie)\${place:+$place }$word]} )) && place="\${place:+$place }$word"
  done
  case $place in
${cases.join('\n')}
  esac
  if [[ \${words[CURRENT]} == -* ]]; then
    _describe -o option options
  elif (( \${#commands} )); then
    _describe command commands
  else
    _files
  fi
}
compdef ${own} ${name}
`;
}

function zshQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
