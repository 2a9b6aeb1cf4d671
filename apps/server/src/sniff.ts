import type { Socket } from 'node:net';

/** How every HTTP/2 connection of a client that knows beforehand begins (RFC 9113, section 3.4). No method is PRI. */
const PREFACE = Buffer.from('PRI ');

const EMPTY = Buffer.alloc(0);

type Sniffed = 'http1' | 'http2' | 'late';

/**
 * Looks at a new connection's first bytes and calls `done` once they say what it speaks, with the bytes put back; with
 * `late` when nothing decisive came in time. Not at all when the connection ends before.
 */
export function sniff(socket: Socket, timeoutMs: number, done: (what: Sniffed) => void): void {
  const timer = setTimeout(() => finish('late'), timeoutMs);
  let held: Buffer = EMPTY;
  const finish = (what: Sniffed): void => {
    clearTimeout(timer);
    socket.off('readable', look);
    socket.off('end', leave);
    socket.off('error', ignore);
    socket.off('close', give);
    if (held.length > 0) socket.unshift(held);
    done(what);
  };
  const look = (): void => {
    const bytes: Buffer | null = socket.read();
    if (bytes === null) return;
    held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    const length = Math.min(held.length, PREFACE.length);
    if (PREFACE.compare(held, 0, length, 0, length) !== 0) finish('http1');
    else if (length === PREFACE.length) finish('http2');
  };
  const give = (): void => clearTimeout(timer);
  // Nothing can be put back behind an end, and nothing more comes.
  const leave = (): void => void socket.destroy();
  const ignore = (): void => {};
  socket.on('readable', look);
  socket.on('end', leave);
  socket.on('error', ignore);
  socket.on('close', give);
}
