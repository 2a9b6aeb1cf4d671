// Plain JavaScript, so that the cache of compiled code is on before the first TypeScript file is read.
import module from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

if (!process.env.NODE_COMPILE_CACHE) {
  // The user's own folder: compiled code out of a shared one could be anybody's.
  module.enableCompileCache?.(
    join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'muster', 'code'),
  );
}
// Warnings of libraries are for their developers, not for who runs a command.
process.noDeprecation = true;
const { main } = await import('./main.ts');
await main();
