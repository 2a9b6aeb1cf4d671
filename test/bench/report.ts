import { cpus, release, totalmem } from 'node:os';
import type { Figure, Row, Size } from './scenarios.ts';

/** Figures of one program, by row. */
export type Results = ReadonlyMap<string, Figure>;

function amount(value: number, unit: Row['unit']): string {
  if (unit === '/s') return value >= 10_000 ? `${(value / 1000).toFixed(1)} k/s` : `${value.toFixed(0)}/s`;
  if (unit === 's') return `${value.toFixed(2)} s`;
  if (unit === 'MB') return `${value.toFixed(0)} MB`;
  if (unit === 'ms') return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
  return value.toFixed(1);
}

function targetText(row: Row): string {
  if (!row.target) return '';
  if ('least' in row.target) return `≥ ${row.target.least} x`;
  if ('most' in row.target) return `≤ ${row.target.most} x`;
  return `< ${amount(row.target.limit, row.unit)}`;
}

/** Whether a target is met; `undefined` where there is none or nothing to compare with. */
export function meets(row: Row, muster: number | undefined, etcd: number | undefined): boolean | undefined {
  if (!row.target || muster === undefined) return undefined;
  if ('limit' in row.target) return muster < row.target.limit;
  if (etcd === undefined) return undefined;
  return 'least' in row.target ? muster >= row.target.least * etcd : muster <= row.target.most * etcd;
}

/** The table in Markdown: it reads well on a terminal too. */
export function table(rows: readonly Row[], muster: Results | undefined, etcd: Results | undefined): string {
  const lines: string[][] = [['what', 'Muster', 'etcd', 'ratio', 'target', '']];
  for (const row of rows) {
    const [a, b] = [muster?.get(row.id)?.value, etcd?.get(row.id)?.value];
    if (a === undefined && b === undefined) continue;
    const met = meets(row, a, b);
    lines.push([
      row.unit === 'CPU-s per million' ? `${row.title}, ${row.unit}` : row.title,
      a === undefined ? '' : amount(a, row.unit),
      b === undefined ? '' : amount(b, row.unit),
      a !== undefined && b ? `${(a / b).toFixed(2)} x` : '',
      targetText(row),
      met === undefined ? '' : met ? 'met' : 'missed',
    ]);
  }
  const widths = (lines[0] as string[]).map((_, i) =>
    Math.max(3, ...lines.map((line) => (line[i] as string).length)),
  );
  const text = lines.map(
    (line) => `| ${line.map((cell, i) => cell.padEnd(widths[i] as number)).join(' | ')} |`,
  );
  text.splice(1, 0, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`);
  return text.join('\n');
}

/** What notes the figures carry, such as every single try. */
export function notes(
  rows: readonly Row[],
  programs: readonly { name: string; results: Results }[],
): string[] {
  const lines: string[] = [];
  for (const row of rows) {
    for (const { name, results } of programs) {
      const note = results.get(row.id)?.note;
      if (note) lines.push(`${row.title}: ${name}: ${note}`);
    }
  }
  return lines;
}

export function machine(): string {
  const [cpu] = cpus();
  return `${cpus().length} x ${cpu?.model.trim()}, ${(totalmem() / 1e9).toFixed(0)} GB, Linux ${release()}`;
}

/** The page `docs/benchmarks.md`. */
export function page(options: {
  readonly table: string;
  readonly notes: readonly string[];
  readonly versions: readonly string[];
  readonly command: string;
  readonly date: string;
  readonly size: Size;
}): string {
  const { size } = options;
  return `# Benchmarks

Muster and etcd in turn on one machine, each with fresh data, load and server sharing the CPUs. Written by
\`${options.command}\` on ${options.date}.

- Machine: ${machine()}
${options.versions.map((version) => `- ${version}`).join('\n')}
- Values of 256 bytes; ${size.connections} requests in flight from \`wrk\` over ${size.keys} keys, ${size.seconds} s after a
  warm-up; ${size.watches} watches of one key; ${size.manyKeys} keys for memory and restart; load on three nodes goes to the leader.

${options.table}

Ratio is Muster's figure to etcd's. Targets are those of the design: at least or at most so many times etcd's figure, or
an absolute limit.

${options.notes.map((note) => `- ${note}`).join('\n')}
`;
}
