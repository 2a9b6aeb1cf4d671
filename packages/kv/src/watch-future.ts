import type { Watcher } from './watcher.ts';

/** Watchers that start beyond the next revision, by the last revision that they must not see. */
export class FutureWatchers {
  readonly #byLastUnseen = new Map<number, Set<Watcher>>();
  #newest = 0;

  add(watcher: Watcher): void {
    const at = watcher.next - 1;
    const set = this.#byLastUnseen.get(at);
    if (set) set.add(watcher);
    else this.#byLastUnseen.set(at, new Set([watcher]));
  }

  delete(watcher: Watcher): void {
    const at = watcher.next - 1;
    const set = this.#byLastUnseen.get(at);
    set?.delete(watcher);
    if (set?.size === 0) this.#byLastUnseen.delete(at);
  }

  clear(): void {
    this.#byLastUnseen.clear();
  }

  /** Removes and returns those for whom the revision after `newest` may be the first. */
  take(newest: number): Iterable<Watcher> {
    const gapless = newest === this.#newest + 1;
    this.#newest = newest;
    if (this.#byLastUnseen.size === 0) return [];
    if (gapless) return this.#takeAt(newest);
    const out: Watcher[] = [];
    for (const at of [...this.#byLastUnseen.keys()]) if (at <= newest) out.push(...this.#takeAt(at));
    return out;
  }

  #takeAt(at: number): Iterable<Watcher> {
    const set = this.#byLastUnseen.get(at);
    if (!set) return [];
    this.#byLastUnseen.delete(at);
    return set;
  }
}
