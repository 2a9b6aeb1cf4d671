/** The gateway alone: `muster-gateway [flags]`. */
import { writeSync } from 'node:fs';
import manifest from '../package.json' with { type: 'json' };
import { GatewayServer } from './compose.ts';
import { helpText, readCommandLine, StartRefused } from './flags.ts';
import { createLogger } from './logger.ts';

const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;

async function main(): Promise<void> {
  const line = readCommandLine(process.argv.slice(2), process.env);
  if (line.action === 'help') return void process.stdout.write(helpText());
  if (line.action === 'version') return void process.stdout.write(`Muster Version: ${manifest.version}\n`);
  const { values } = line;
  const log = createLogger(values['log-level'], (text) => writeSync(2, text));
  const fatal = (error: unknown): never => {
    log.error({ err: error }, 'an unexpected error ends this process');
    process.exit(1);
  };
  process.on('uncaughtException', fatal);
  process.on('unhandledRejection', fatal);
  let server: GatewayServer | undefined;
  let stopping = false;
  const stop = (signal: keyof typeof SIGNALS): void => {
    if (stopping || !server) process.exit(128 + SIGNALS[signal]);
    stopping = true;
    log.info({ signal }, 'stopping');
    server.stop().then(() => process.exit(0), fatal);
  };
  for (const signal of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[])
    process.on(signal, () => stop(signal));
  server = await GatewayServer.start(values, log);
  log.info({ addresses: server.addresses, endpoints: values.endpoints }, 'ready to serve client requests');
}

main().catch((error: unknown) => {
  const refused = error instanceof StartRefused;
  process.stderr.write(`${refused ? error.message : ((error as Error).stack ?? String(error))}\n`);
  process.exit(refused ? error.exitCode : 1);
});
