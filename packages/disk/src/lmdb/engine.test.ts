import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { engineSuite } from '../../../kv/src/engine-suite.ts';
import { openEngine } from './engine.ts';

engineSuite('LmdbEngine', () => {
  const directory = mkdtempSync(`${tmpdir()}/muster-engine-`);
  const engine = openEngine(directory, { flushDelayMs: 1 });
  return {
    engine,
    close: async () => {
      await engine.close();
      rmSync(directory, { recursive: true });
    },
  };
});
