import type { Io } from './io.ts';

/** One line on a terminal that says how far something is; nothing where standard error is no terminal. */
export type Progress = {
  /** At most ten times a second. */
  update(text: string): void;
  /** Wipes the line. */
  done(): void;
};

const REDRAW_MS = 100;

export function progressLine(io: Io): Progress {
  if (!io.errIsTerminal) return { update: () => undefined, done: () => undefined };
  let drawnAt = Number.NEGATIVE_INFINITY;
  let width = 0;
  return {
    update(text) {
      const now = performance.now();
      if (now - drawnAt < REDRAW_MS) return;
      drawnAt = now;
      io.err(`\r${text.padEnd(width)}`);
      width = text.length;
    },
    done() {
      if (width > 0) io.err(`\r${' '.repeat(width)}\r`);
      width = 0;
    },
  };
}

const BAR_WIDTH = 30;

/** `[=====>    ] 42%`. */
export function bar(done: number, total: number): string {
  const share = total <= 0 ? 0 : Math.min(1, done / total);
  const filled = Math.floor(share * BAR_WIDTH);
  return `[${'='.repeat(filled)}${filled < BAR_WIDTH ? '>' : ''}${' '.repeat(Math.max(0, BAR_WIDTH - filled - 1))}] ${Math.floor(share * 100)}%`;
}
