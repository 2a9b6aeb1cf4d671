import { spawn } from 'node:child_process';
import { Failure } from './failure.ts';

/** Runs a program with our streams and these variables besides; fails as etcdctl says it when the program does. */
export function runProgram(
  [file, ...args]: readonly [string, ...string[]],
  variables: Readonly<Record<string, string>>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: 'inherit', env: { ...process.env, ...variables } });
    child.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'ENOENT' ? 'executable file not found in $PATH' : error.message;
      reject(new Failure(`exec: ${JSON.stringify(file)}: ${reason}`));
    });
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Failure(signal ? `signal: ${signal}` : `exit status ${code}`));
    });
  });
}
