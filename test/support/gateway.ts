/** Stand-alone gateways as processes. */
import { Child } from './child.ts';

const MAIN = new URL('../../apps/gateway/src/main.ts', import.meta.url).pathname;

type GatewayProcess = {
  readonly url: string;
  /** What it has written. */
  log(): string;
  start(): Promise<void>;
  /** How it ended: `exit code 0`, or the signal. */
  stop(signal?: NodeJS.Signals): Promise<string>;
};

/** A gateway on `port` before the cluster at `endpoints`; not yet started. */
export function makeGateway(
  port: number,
  endpoints: readonly string[],
  flags: readonly string[] = [],
): GatewayProcess {
  const url = `http://127.0.0.1:${port}`;
  const args = [MAIN, `--endpoints=${endpoints.join(',')}`, `--listen-urls=${url}`, ...flags];
  let child: Child | undefined;
  return {
    url,
    log: () => child?.output ?? '',
    start: async () => {
      child = new Child(process.execPath, args);
      await child.ready(async () => {
        const response = await fetch(`${url}/health`);
        if (response.status !== 200) throw new Error(await response.text());
      });
    },
    stop: async (signal = 'SIGTERM') => {
      const stopping = child;
      child = undefined;
      return stopping ? stopping.stop(signal) : 'not running';
    },
  };
}
