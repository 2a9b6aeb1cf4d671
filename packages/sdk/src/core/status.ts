/** The client's one socket, as its holder sees it. Plain calls do not need it and go on without. */
export type ConnectionStatus =
  /** Nothing is watched, so there is no socket. */
  | { readonly state: 'idle' }
  | { readonly state: 'connecting'; readonly endpoint: string; readonly attempt: number }
  | { readonly state: 'open'; readonly endpoint: string; readonly revision: number; readonly epoch: string }
  /** Open, and moving to another member because this one said that it goes away. */
  | { readonly state: 'draining'; readonly endpoint: string }
  | { readonly state: 'backoff'; readonly attempt: number; readonly delayMs: number; readonly cause: string }
  /** Let go on purpose, such as while the page is hidden. */
  | { readonly state: 'paused' }
  | { readonly state: 'closed' };

/** Ends a subscription made with `on`. Idempotent. */
export type Off = () => void;

/** Listeners of one kind. A listener that throws must not stop the others, nor what called them. */
export class Listeners<T> {
  readonly #listeners = new Set<(value: T) => void>();
  readonly #onError: (error: unknown) => void;

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  add(listener: (value: T) => void): Off {
    const own = (value: T) => listener(value);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  emit(value: T): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(value);
      } catch (error) {
        this.#onError(error);
      }
    }
  }

  clear(): void {
    this.#listeners.clear();
  }
}

/** Where the SDK says what happens to it: once per change of state, never per attempt. */
export type Logger = {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
};

export const SILENT_LOGGER: Logger = { info() {}, warn() {} };
