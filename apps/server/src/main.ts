/** One member process: `muster-server [flags]`. */
import { enableCompileCache, flushCompileCache } from 'node:module';
import { join } from 'node:path';
import { AssertionFailed } from '@muster/base';
import { readCommandLine, refusalText, StartRefused } from './command-line.ts';
import type { Server } from './compose.ts';
import { configOf } from './config.ts';
import { discovered } from './discovery.ts';
import { refuseEtcdData } from './etcd-data.ts';
import { helpText } from './flags.ts';
import { createLogger, type Logger } from './logger.ts';
import { versionText } from './version.ts';

const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;

async function main(): Promise<void> {
  const line = readCommandLine(process.argv.slice(2), process.env);
  if (line.values.help) {
    process.stdout.write(helpText());
    return;
  }
  if (line.values.version) {
    process.stdout.write(versionText());
    return;
  }
  const warnings: string[] = [...line.warnings];
  const config = await discovered(configOf(line, warnings));
  refuseEtcdData(config.dataDir);
  const logger = createLogger({
    level: config.logLevel,
    format: config.logFormat,
    outputs: config.logOutputs,
  });
  for (const warning of warnings) logger.warn(warning);
  const fatal = endOnFatal(logger);
  let server: Server | undefined;
  let stopping = false;
  const stop = (signal: keyof typeof SIGNALS): void => {
    if (stopping || !server) {
      logger.warn({ signal }, stopping ? 'cut short by a second signal' : 'stopped while starting');
      process.exit(128 + SIGNALS[signal]);
    }
    stopping = true;
    logger.info({ signal }, 'stopping');
    server.stop().then(() => process.exit(0), fatal);
  };
  for (const signal of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[])
    process.on(signal, () => stop(signal));
  // Halves the time to start again. In the data directory, because what lies there is as private as the data.
  enableCompileCache(join(config.dataDir, 'cache'));
  // What a refused start, --help and --version do not need is not loaded for them.
  const compose = await import('./compose.ts');
  // Written now, before anything runs that must not wait: a process that is killed would not write it at its end.
  flushCompileCache();
  // As etcd does: status 0, so that no supervisor starts it again.
  let removed = false;
  const leave = (): void => {
    removed = true;
    if (stopping || !server) return;
    stopping = true;
    server.stop().then(() => process.exit(0), fatal);
  };
  server = await compose.Server.start({ config, logger, onFatal: fatal, onRemoved: leave });
  if (removed) return leave();
  server.serving().then(
    () => logger.info({ addresses: server.clientAddresses }, 'ready to serve client requests'),
    () => {},
  );
}

/** Nothing goes on after a broken invariant or an error that nobody expected: the log has all that was acknowledged. */
function endOnFatal(logger: Logger): (error: unknown) => never {
  const end = (error: unknown): never => {
    const text = error instanceof AssertionFailed ? 'a broken invariant' : 'an unexpected error';
    logger.fatal({ err: error }, `${text} ends this process`);
    process.exit(1);
  };
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
  return end;
}

main().catch((error: unknown) => {
  if (error instanceof StartRefused) {
    process.stderr.write(refusalText(error));
    process.exit(error.exitCode);
  }
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(1);
});
