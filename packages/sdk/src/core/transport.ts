/** What the isomorphic core needs of a platform's network. Node and browser each have one; tests have theirs. */

export type HttpRequest = {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal: AbortSignal;
};

export type HttpResponse = {
  readonly status: number;
  /** By lowercase name. */
  header(name: string): string | undefined;
  readonly body: Uint8Array;
};

/** Why a request has no answer. `sent` is false only when the server cannot have seen any of it. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  readonly sent: boolean;

  constructor(message: string, sent: boolean, cause?: unknown) {
    super(message, { cause });
    this.sent = sent;
  }
}

export type SocketHandlers = {
  onOpen(): void;
  onMessage(text: string): void;
  /** Exactly once, whether it ever opened or not; nothing follows. */
  onClose(code: number, reason: string): void;
};

export interface Socket {
  send(text: string): void;
  /** Ends the socket. `onClose` is not called for it. Idempotent. */
  close(code?: number, reason?: string): void;
}

export interface Transport {
  /** Rejects with a `TransportError`, or with the signal's reason when it fired. Any status is an answer. */
  request(request: HttpRequest): Promise<HttpResponse>;
  /** Handlers are called in later turns only. */
  openSocket(
    url: string,
    protocols: readonly string[],
    headers: Readonly<Record<string, string>>,
    handlers: SocketHandlers,
  ): Socket;
  close(): Promise<void>;
}
