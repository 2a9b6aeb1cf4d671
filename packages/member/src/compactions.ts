import type { Engine, StateMachine } from '@muster/kv';
import type { Tallies } from './tallies.ts';

/** Removal behind the compact revision, a slice a turn, and those who wait until all of it is done. */
export class Compactions {
  readonly #engine: Engine;
  readonly #machine: () => StateMachine;
  readonly #tallies: Tallies;
  #waiting: (() => void)[] = [];

  constructor(engine: Engine, machine: () => StateMachine, tallies: Tallies) {
    this.#engine = engine;
    this.#machine = machine;
    this.#tallies = tallies;
  }

  /** One slice, as a unit of its own at the applied index; true when more is left. */
  step(applied: number): boolean {
    const machine = this.#machine();
    if (!machine.compactionPending) return false;
    const finished = this.#tallies.compacting(() => {
      const last = machine.compactStep();
      machine.flushMeta();
      this.#engine.commit(applied);
      return last;
    });
    if (finished) this.settle();
    return !finished;
  }

  /** Runs `done` once no compaction is under way. */
  whenDone(done: () => void): void {
    if (this.#machine().compactionPending) this.#waiting.push(done);
    else done();
  }

  /** Another state may have taken the old one's place, with nothing left to remove. */
  settle(): void {
    if (this.#machine().compactionPending) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const run of waiting) run();
  }
}
