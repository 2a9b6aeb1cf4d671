import type { IncomingMessage, ServerResponse } from 'node:http';

type Listener = (req: IncomingMessage, res: ServerResponse) => void;

/** Before the gateway: once closed, readiness checks fail while everything else is still answered. */
export class ReadinessGate {
  readonly #next: Listener;
  #closed = false;

  constructor(next: Listener) {
    this.#next = next;
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
  }

  readonly listener: Listener = (req, res) => {
    if (this.#closed && /^\/readyz(?:[/?]|$)/.test(req.url ?? '')) {
      res.writeHead(503, { 'Content-Type': 'text/plain; charset=utf-8' });
      res.end('[-]stopping failed: this member is stopping\n');
      return;
    }
    this.#next(req, res);
  };
}
