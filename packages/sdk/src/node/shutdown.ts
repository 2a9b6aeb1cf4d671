import type { ShutdownHook } from '../core/services.ts';

type Hook = { readonly signals: readonly string[]; readonly run: (cut: AbortSignal) => Promise<void> };

const hooks = new Set<Hook>();
const installed = new Map<string, () => void>();
let stopping: { readonly cut: AbortController } | undefined;

/**
 * Runs every hook when the process is told to stop, all at once, and then lets the signal do what it does by itself
 * (unless the application listens to it too: then the end is the application's). A second signal cuts the hooks short,
 * a third ends the process without waiting for them.
 */
export const onShutdown: ShutdownHook = (signals, run) => {
  const hook: Hook = { signals, run };
  hooks.add(hook);
  for (const signal of signals) {
    if (installed.has(signal)) continue;
    const listener = () => void onSignal(signal);
    installed.set(signal, listener);
    process.on(signal, listener);
  }
  return () => {
    hooks.delete(hook);
    // While stopping, our listeners stay: without any, a second signal would kill at once.
    if (!stopping) removeUnused();
  };
};

async function onSignal(signal: string): Promise<void> {
  if (stopping) {
    if (stopping.cut.signal.aborted) finish(signal);
    else stopping.cut.abort();
    return;
  }
  stopping = { cut: new AbortController() };
  const { cut } = stopping;
  const due = [...hooks].filter((hook) => hook.signals.includes(signal));
  await Promise.allSettled(due.map((hook) => hook.run(cut.signal)));
  finish(signal);
}

function finish(signal: string): void {
  stopping = undefined;
  remove(signal);
  removeUnused();
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal as NodeJS.Signals);
}

function removeUnused(): void {
  for (const signal of [...installed.keys()]) {
    if (![...hooks].some((hook) => hook.signals.includes(signal))) remove(signal);
  }
}

function remove(signal: string): void {
  const listener = installed.get(signal);
  if (!listener) return;
  process.off(signal, listener);
  installed.delete(signal);
}
