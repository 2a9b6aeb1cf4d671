import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

export type MemberPlan = {
  readonly name: string;
  readonly clientPort: number;
  readonly peerPort: number;
  readonly dataDir: string;
};

export type Plan = {
  readonly members: readonly MemberPlan[];
  readonly dataDir: string;
  readonly logDir: string;
  /** Run without the sample services. */
  readonly bare: boolean;
};

export const USAGE = `npm start -- [options]

  --base-port N   six ports in a row from N on, instead of 2379, 22379, 32379 and 2380, 22380, 32380
                  (MUSTER_BASE_PORT)
  --data-dir DIR  where the members keep their data; default .muster (MUSTER_DATA_DIR)
  --bare          members only, no sample services
  --help          this text`;

/** Client ports as etcd's own example of a local cluster has them, each with its peer port above it. */
const DEFAULT_CLIENT_PORTS = [2379, 22379, 32379];

/** What to start, from arguments and environment; a string says what is wrong with them. `undefined` asks for help. */
export function readPlan(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  root: string,
): Plan | string | undefined {
  let values: { 'base-port'?: string; 'data-dir'?: string; bare?: boolean; help?: boolean };
  try {
    values = parseArgs({
      args: [...args],
      options: {
        'base-port': { type: 'string' },
        'data-dir': { type: 'string' },
        bare: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    return (error as Error).message;
  }
  if (values.help) return undefined;
  const base = values['base-port'] ?? env.MUSTER_BASE_PORT;
  const clientPorts =
    base === undefined ? DEFAULT_CLIENT_PORTS : [0, 2, 4].map((offset) => Number(base) + offset);
  const [first = 0, , last = 0] = clientPorts;
  if (!Number.isInteger(first) || first < 1 || last > 65_534) {
    return `--base-port: expected a number from 1 to 65530, got ${base}`;
  }
  const dataDir = resolve(root, values['data-dir'] ?? env.MUSTER_DATA_DIR ?? '.muster');
  const members = clientPorts.map((clientPort, i) => {
    const name = `m${i + 1}`;
    return { name, clientPort, peerPort: clientPort + 1, dataDir: join(dataDir, name) };
  });
  return { members, dataDir, logDir: join(dataDir, 'logs'), bare: values.bare ?? false };
}
