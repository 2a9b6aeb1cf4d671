type Node<T> = {
  readonly start: string;
  readonly end: string;
  readonly value: T;
  readonly priority: number;
  /** The greatest `end` in this subtree. */
  maxEnd: string;
  left: Node<T> | undefined;
  right: Node<T> | undefined;
};

/**
 * Half-open intervals of strings with one value each, and the question "which intervals hold this point?" answered
 * in O(log n + answers). A treap ordered by (start, end), each node knowing the greatest end below it; priorities come
 * from a hashed counter, so equal histories give equal trees.
 */
export class IntervalIndex<T> {
  #root: Node<T> | undefined;
  #counter = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(start: string, end: string): T | undefined {
    let node = this.#root;
    while (node) {
      const order = compare(start, end, node);
      if (order === 0) return node.value;
      node = order < 0 ? node.left : node.right;
    }
    return undefined;
  }

  /** The interval must not be there yet. */
  insert(start: string, end: string, value: T): void {
    const priority = scramble(++this.#counter);
    const node = { start, end, value, priority, maxEnd: end, left: undefined, right: undefined };
    this.#root = insert(this.#root, node);
    this.#size++;
  }

  /** The interval must be there. */
  delete(start: string, end: string): void {
    this.#root = remove(this.#root as Node<T>, start, end);
    this.#size--;
  }

  /** Appends to `out` the values of all intervals with start <= point < end, in order of (start, end). */
  stab(point: string, out: T[]): void {
    if (this.#root) stab(this.#root, point, out);
  }
}

function compare<T>(start: string, end: string, node: Node<T>): number {
  if (start !== node.start) return start < node.start ? -1 : 1;
  return end === node.end ? 0 : end < node.end ? -1 : 1;
}

function stab<T>(node: Node<T>, point: string, out: T[]): void {
  if (node.maxEnd <= point) return;
  if (node.left) stab(node.left, point, out);
  if (node.start > point) return;
  if (point < node.end) out.push(node.value);
  if (node.right) stab(node.right, point, out);
}

function insert<T>(root: Node<T> | undefined, node: Node<T>): Node<T> {
  if (!root) return node;
  if (node.priority > root.priority) {
    [node.left, node.right] = split(root, node.start, node.end);
    return update(node);
  }
  if (compare(node.start, node.end, root) < 0) root.left = insert(root.left, node);
  else root.right = insert(root.right, node);
  return update(root);
}

/** Cuts a subtree into what sorts before (start, end) and what sorts after it. */
function split<T>(
  root: Node<T> | undefined,
  start: string,
  end: string,
): [Node<T> | undefined, Node<T> | undefined] {
  if (!root) return [undefined, undefined];
  if (compare(start, end, root) < 0) {
    const [before, after] = split(root.left, start, end);
    root.left = after;
    return [before, update(root)];
  }
  const [before, after] = split(root.right, start, end);
  root.right = before;
  return [update(root), after];
}

function remove<T>(root: Node<T>, start: string, end: string): Node<T> | undefined {
  const order = compare(start, end, root);
  if (order === 0) return merge(root.left, root.right);
  if (order < 0) root.left = remove(root.left as Node<T>, start, end);
  else root.right = remove(root.right as Node<T>, start, end);
  return update(root);
}

function merge<T>(before: Node<T> | undefined, after: Node<T> | undefined): Node<T> | undefined {
  if (!before || !after) return before ?? after;
  if (before.priority > after.priority) {
    before.right = merge(before.right, after);
    return update(before);
  }
  after.left = merge(before, after.left);
  return update(after);
}

function update<T>(node: Node<T>): Node<T> {
  let max = node.end;
  if (node.left && node.left.maxEnd > max) max = node.left.maxEnd;
  if (node.right && node.right.maxEnd > max) max = node.right.maxEnd;
  node.maxEnd = max;
  return node;
}

/** Spreads consecutive numbers over 32 bits (the finalizer of MurmurHash3). */
function scramble(n: number): number {
  let h = n ^ (n >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
