import type { TableView } from './printer.ts';

/** etcdctl's tables: heads in the middle, cells to the right, two spaces of air. */
export function formatTable({ head, rows }: TableView): string {
  const widths = head.map((title, i) => Math.max(width(title), ...rows.map((row) => width(row[i] ?? ''))));
  const rule = `+${widths.map((size) => '-'.repeat(size + 2)).join('+')}+\n`;
  const line = (cells: readonly string[], place: (cell: string, size: number) => string) =>
    `|${widths.map((size, i) => ` ${place(cells[i] ?? '', size)} `).join('|')}|\n`;
  const body = rows.map((row) => line(row, right)).join('');
  return rule + line(head, centered) + rule + body + (rows.length > 0 ? rule : '');
}

function right(cell: string, size: number): string {
  return ' '.repeat(size - width(cell)) + cell;
}

function centered(cell: string, size: number): string {
  const room = size - width(cell);
  const left = Math.floor(room / 2);
  return ' '.repeat(left) + cell + ' '.repeat(room - left);
}

function width(text: string): number {
  return [...text].length;
}
