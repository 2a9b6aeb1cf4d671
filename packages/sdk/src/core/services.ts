import type { Clock } from '@muster/base';
import type { InstancePut } from '@muster/contract';
import { type Duration, durationMs } from './duration.ts';
import type { MusterError } from './errors.ts';
import { ttlSeconds } from './leases.ts';
import { DEREGISTER_TIMEOUT_MS, LEAVE_WAIT_MS, REGISTRATION_TTL_MS } from './limits.ts';
import { pause } from './pause.ts';
import {
  type Health,
  Reconciler,
  type RegistrarOptions,
  type RegistrationEvent,
  type RegistrationState,
} from './registration.ts';
import { type InstanceFilter, LiveServiceView, type ServiceView } from './service-view.ts';
import type { Off } from './status.ts';

/** What an instance says of itself and may change while it runs. */
export type InstanceDescription = {
  readonly url?: string;
  readonly address?: string;
  readonly port?: number;
  readonly version?: string;
  readonly zone?: string;
  readonly weight?: number;
  readonly tags?: readonly string[];
  readonly metadata?: Readonly<Record<string, string>>;
  /** Default `up`. */
  readonly status?: 'starting' | 'up' | 'draining' | 'down' | 'maintenance';
};

/** What happens when the process is told to stop. Only on platforms with signals. */
export type ShutdownOptions = {
  /** Default SIGTERM and SIGINT. */
  readonly signals?: readonly string[];
  /** How long to stay, marked `draining`, before deregistering. Default 0: gone at once. */
  readonly linger?: Duration;
  /** Called after draining, before deregistering: stop accepting and finish what is in flight. */
  readonly stop?: () => void | Promise<void>;
};

export type RegisterOptions = InstanceDescription & {
  readonly name: string;
  /** Names this instance within its service. Default: chosen at random. */
  readonly id?: string;
  /** How long the registry keeps it without a renewal. Default 15 s, at least 1 s, whole seconds. */
  readonly ttl?: Duration;
  /** Asked every third of the ttl; what it says is written when it changes. Throwing counts as `critical`. */
  readonly health?: () => Health | Promise<Health>;
  readonly shutdown?: false | ShutdownOptions;
  /** Gives up waiting for the first confirmation, and the registration with it. Default: waits for ever. */
  readonly signal?: AbortSignal;
};

export type DrainOptions = {
  /** How long to stay, marked `draining`, before deregistering. Default 0. */
  readonly linger?: Duration;
  /** Cuts the lingering short. */
  readonly signal?: AbortSignal;
};

/** A registration that is kept true until it is drained or closed. */
export interface Registration extends AsyncDisposable {
  readonly name: string;
  readonly id: string;
  readonly state: RegistrationState;
  /** The lease it is under now; another one after each loss. */
  readonly leaseId: string;
  readonly lastError: MusterError | undefined;
  /** Resolves when the registry has confirmed the change. */
  update(part: InstanceDescription): Promise<void>;
  /** Marks it `draining`, waits, deregisters. Does not reject: what cannot be deleted ends with its lease. */
  drain(options?: DrainOptions): Promise<void>;
  on(event: 'state', listener: (event: RegistrationEvent) => void): Off;
  /** `drain` without waiting. */
  close(): Promise<void>;
}

export interface Services {
  /** Resolves when the registry has confirmed it for the first time; rejects only when it refuses what is asked. */
  register(options: RegisterOptions): Promise<Registration>;
  /** Resolves with the first whole snapshot. `*` is every service. */
  discover(name: string, filter?: InstanceFilter & { readonly signal?: AbortSignal }): Promise<ServiceView>;
}

/** How a platform tells that the process is to stop. `run` gets a signal that fires when there is no more patience. */
export type ShutdownHook = (signals: readonly string[], run: (cut: AbortSignal) => Promise<void>) => Off;

type ServicesOptions = RegistrarOptions & {
  readonly onShutdown: ShutdownHook | undefined;
  /** Everything to be closed with the client. */
  readonly closers: Set<() => Promise<void>>;
};

const SHUTDOWN_SIGNALS = ['SIGTERM', 'SIGINT'] as const;

export function createServices(options: ServicesOptions): Services {
  return {
    register: (what) => register(what, options),
    discover: (name, filter = {}) => discover(name, filter, options),
  };
}

async function discover(
  name: string,
  { signal, ...filter }: InstanceFilter & { readonly signal?: AbortSignal },
  options: ServicesOptions,
): Promise<ServiceView> {
  const view = new LiveServiceView(name, filter, options);
  try {
    await view.loaded(signal);
  } catch (error) {
    await view.close();
    throw error;
  }
  return view;
}

async function register(what: RegisterOptions, options: ServicesOptions): Promise<Registration> {
  const id = what.id ?? `${what.name}-${options.randomId().toString(16).padStart(16, '0').slice(-8)}`;
  const reconciler = new Reconciler(
    {
      name: what.name,
      id,
      ttlSeconds: ttlSeconds(what.ttl ?? REGISTRATION_TTL_MS),
      document: documentOf(what),
      ...(what.health && { health: what.health }),
    },
    options,
  );
  const registration = new ReconciledRegistration(reconciler, what.shutdown, options);
  const { signal } = what;
  const onAbort = () => void registration.close();
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  try {
    await reconciler.settled();
  } catch (error) {
    await registration.close();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
  return registration;
}

function documentOf(what: InstanceDescription): Omit<InstancePut, 'ttl' | 'leaseId'> {
  const { url, address, port, version, zone, weight, tags, metadata, status } = what;
  return {
    status: status ?? 'up',
    ...(url !== undefined && { url }),
    ...(address !== undefined && { address }),
    ...(port !== undefined && { port }),
    ...(version !== undefined && { version }),
    ...(zone !== undefined && { zone }),
    ...(weight !== undefined && { weight }),
    ...(tags !== undefined && { tags: [...tags] }),
    ...(metadata !== undefined && { metadata: { ...metadata } }),
  };
}

class ReconciledRegistration implements Registration {
  readonly #reconciler: Reconciler;
  readonly #clock: Clock;
  readonly #closers: Set<() => Promise<void>>;
  readonly #close = () => this.close();
  readonly #offShutdown: Off | undefined;
  #draining: Promise<void> | undefined;
  readonly #cut = new AbortController();

  constructor(
    reconciler: Reconciler,
    shutdown: false | ShutdownOptions | undefined,
    options: ServicesOptions,
  ) {
    this.#reconciler = reconciler;
    this.#clock = options.clock;
    this.#closers = options.closers;
    this.#closers.add(this.#close);
    if (shutdown === false) return;
    this.#offShutdown = options.onShutdown?.(shutdown?.signals ?? SHUTDOWN_SIGNALS, (cut) =>
      this.#shutDown(shutdown ?? {}, cut),
    );
  }

  get name(): string {
    return this.#reconciler.name;
  }

  get id(): string {
    return this.#reconciler.id;
  }

  get state(): RegistrationState {
    return this.#reconciler.state;
  }

  get leaseId(): string {
    return this.#reconciler.leaseId;
  }

  get lastError(): MusterError | undefined {
    return this.#reconciler.lastError;
  }

  on(_event: 'state', listener: (event: RegistrationEvent) => void): Off {
    return this.#reconciler.onState(listener);
  }

  update(part: InstanceDescription): Promise<void> {
    const { status: _status, ...rest } = documentOf(part);
    return this.#reconciler.change(part.status === undefined ? rest : { ...rest, status: part.status });
  }

  drain(options: DrainOptions = {}): Promise<void> {
    this.#draining ??= this.#drain(durationMs(options.linger ?? 0, 'linger'), options.signal);
    return this.#draining;
  }

  /** A drain that lingers is cut short. */
  close(): Promise<void> {
    this.#cut.abort();
    return this.drain();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #shutDown(shutdown: ShutdownOptions, cut: AbortSignal): Promise<void> {
    const linger = durationMs(shutdown.linger ?? 0, 'linger');
    this.#draining ??= this.#drain(linger, cut, shutdown.stop);
    await this.#draining;
  }

  async #drain(
    lingerMs: number,
    signal: AbortSignal | undefined,
    stop?: () => void | Promise<void>,
  ): Promise<void> {
    await this.#mark();
    await pause(this.#clock, lingerMs, AbortSignal.any([this.#cut.signal, ...(signal ? [signal] : [])]));
    if (stop && !signal?.aborted)
      await Promise.resolve()
        .then(stop)
        .catch(() => {});
    await this.#reconciler.leave(DEREGISTER_TIMEOUT_MS);
    this.#offShutdown?.();
    this.#closers.delete(this.#close);
  }

  /** Being `draining` first is what tells watchers that it goes on purpose. */
  async #mark(): Promise<void> {
    if (this.#reconciler.state !== 'registered') return;
    const marked = new AbortController();
    this.#reconciler
      .change({ status: 'draining' })
      .catch(() => {})
      .finally(() => marked.abort());
    await pause(this.#clock, LEAVE_WAIT_MS, marked.signal);
  }
}
