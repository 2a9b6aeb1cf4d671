import { once } from 'node:events';
import { createServer } from 'node:net';

/** Those of `ports` that cannot be listened on, each with why, in words. */
export async function takenPorts(ports: readonly number[]): Promise<string[]> {
  const answers = await Promise.all(ports.map(whyTaken));
  return answers.filter((answer) => answer !== undefined);
}

async function whyTaken(port: number): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') return `port ${port} is in use by another program`;
    return `port ${port} cannot be used (${code})`;
  } finally {
    server.close();
  }
}
