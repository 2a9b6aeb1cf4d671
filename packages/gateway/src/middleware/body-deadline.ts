import type { IncomingMessage } from 'node:http';
import type { Clock } from '@muster/base';

/**
 * Ends connections whose request body does not arrive in time. Node's own `requestTimeout` cannot be used: the body
 * of a watch stays open as long as the watch. Two generations instead of a timer each: a body gets at least the
 * timeout and at most twice that.
 */
export class BodyDeadline {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #young = new Set<IncomingMessage>();
  #old = new Set<IncomingMessage>();
  #sweeping = false;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  add(req: IncomingMessage): void {
    this.#young.add(req);
    if (!this.#sweeping) this.#schedule();
  }

  /** The request is over. One that was answered before its body was complete stays under watch. */
  settle(req: IncomingMessage): void {
    if (!req.complete && !req.socket.destroyed) return;
    if (!this.#young.delete(req)) this.#old.delete(req);
  }

  #schedule(): void {
    this.#sweeping = true;
    this.#clock.schedule(this.#timeoutMs, () => this.#sweep());
  }

  #sweep(): void {
    this.#sweeping = false;
    for (const req of this.#old) if (!req.complete) req.socket.destroy();
    this.#old = this.#young;
    this.#young = new Set();
    if (this.#old.size > 0) this.#schedule();
  }
}
