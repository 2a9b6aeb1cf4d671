/**
 * `pnpm bench [--quick] [--only stage[,stage]] [--programs muster,etcd] [--first-port n] [--no-write]`
 *
 * Measures Muster and etcd in turn and prints the table; a full run also writes docs/benchmarks.md.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { debianProgram } from '../support/debian.ts';
import { notes, page, type Results, table } from './report.ts';
import { type Figure, FULL, QUICK, ROWS, type Size, STAGES } from './scenarios.ts';
import { etcdProgram, musterProgram, type Program, startCluster } from './servers.ts';

const PAGE = fileURLToPath(new URL('../../docs/benchmarks.md', import.meta.url));

type BenchOptions = {
  readonly size: Size;
  readonly programs: readonly Program[];
  /** Names of stages; all when empty. */
  readonly only: readonly string[];
  readonly firstPort: number;
  readonly wrk: string;
  readonly log: (line: string) => void;
};

/** Runs the stages, each for one program after the other. */
export async function bench(options: BenchOptions): Promise<Map<Program, Map<string, Figure>>> {
  const { size, programs, only, firstPort, wrk, log } = options;
  const unknown = only.filter((name) => !STAGES.some((stage) => stage.name === name));
  if (unknown.length > 0) {
    throw new Error(
      `no stage ${unknown.join(', ')}; there are: ${STAGES.map((stage) => stage.name).join(', ')}`,
    );
  }
  const results = new Map(programs.map((program) => [program, new Map<string, Figure>()]));
  for (const stage of STAGES) {
    if (only.length > 0 && !only.includes(stage.name)) continue;
    for (const program of programs) {
      log(`${stage.name}: ${program.name}`);
      const cluster = await startCluster(program, stage.nodes, firstPort);
      try {
        for (const figure of await stage.run(cluster, size, wrk))
          results.get(program)?.set(figure.id, figure);
      } finally {
        await cluster.close();
      }
    }
  }
  return results;
}

function chosenPrograms(names: readonly string[]): Program[] {
  return names.map((name) => {
    if (name === 'muster') return musterProgram();
    if (name !== 'etcd') throw new Error(`no program ${name}; there are: muster, etcd`);
    const path = debianProgram('etcd', 'etcd-server');
    if (!path) throw new Error('etcd is not installed');
    return etcdProgram(path);
  });
}

function list(text: string): string[] {
  return text.split(',').filter((part) => part !== '');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      programs: { type: 'string', default: 'muster,etcd' },
      'first-port': { type: 'string', default: '21300' },
      'no-write': { type: 'boolean', default: false },
    },
  });
  const wrk = debianProgram('wrk', 'wrk');
  if (!wrk) throw new Error('wrk is not installed');
  const programs = chosenPrograms(list(values.programs));
  const only = list(values.only);
  const size = values.quick ? QUICK : FULL;
  const log = (line: string): void => console.error(line);
  const results = await bench({ size, programs, only, firstPort: Number(values['first-port']), wrk, log });
  const named = (name: string): Results | undefined =>
    [...results].find(([program]) => program.name === name)?.[1];
  const text = table(ROWS, named('Muster'), named('etcd'));
  const remarks = notes(
    ROWS,
    [...results].map(([program, figures]) => ({ name: program.name, results: figures })),
  );
  console.log(`\n${text}\n\n${remarks.join('\n')}`);
  if (values.quick || values['no-write'] || only.length > 0 || programs.length < 2) return;
  const versions = programs.map(({ name, version }) => `${name}: ${version}`);
  const date = new Date().toISOString().slice(0, 10);
  writeFileSync(PAGE, page({ table: text, notes: remarks, versions, command: 'pnpm bench', date, size }));
}

if (import.meta.main) await main();
