/**
 * A JSON scanner fed in pieces. It finds where values end, so that a request body can be a sequence of values, and it
 * names the first fault in the words of Go's decoder, which etcd passes on to its clients.
 */

/** Go's own bound on nesting. */
const MAX_JSON_DEPTH = 10_000;

type ScanResult =
  /** Everything was taken in and no value ended. */
  | { readonly type: 'more' }
  /** A value ended; `end` is the offset after its last character. Scanning may go on from there. */
  | { readonly type: 'value'; readonly end: number }
  | { readonly type: 'error'; readonly text: string };

const MORE: ScanResult = { type: 'more' };

type Step = (scanner: JsonScanner, c: number) => StepResult;
type StepResult = 'go' | 'closed' | 'endBefore' | 'error';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const isSpace = (c: number): boolean => c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09;
const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;
const isHex = (c: number): boolean => isDigit(c) || (c >= 0x61 && c <= 0x66) || (c >= 0x41 && c <= 0x46);

/** What the enclosing value expects after the one that just ended. */
const IN_KEY = 0;
const IN_VALUE = 1;
const IN_ARRAY = 2;

export class JsonScanner {
  step: Step = beginValue;
  readonly parents: number[] = [];
  error = '';
  /** True between the first character of a value and its end. */
  inside = false;

  /** Scans `text` from `at` until a value ends, a fault is met or the text is used up. */
  scan(text: string, at: number): ScanResult {
    for (let i = at; i < text.length; i++) {
      if (this.step === inString) {
        i = skipPlain(text, i);
        if (i === text.length) break;
      }
      const c = text.charCodeAt(i);
      if (!this.inside && !isSpace(c)) this.inside = true;
      const result = this.step(this, c);
      if (result === 'go') continue;
      if (result === 'error') return { type: 'error', text: this.error };
      if (result === 'closed' && this.parents.length > 0) continue;
      this.#reset();
      return { type: 'value', end: result === 'closed' ? i + 1 : i };
    }
    return MORE;
  }

  /** Tells that nothing more comes. A number at the end is complete only now. */
  finish(): 'value' | 'nothing' | 'truncated' {
    if (!this.inside) return 'nothing';
    const ended = this.step(this, 0x20) === 'endBefore';
    if (ended) this.#reset();
    return ended ? 'value' : 'truncated';
  }

  fail(c: number, context: string): StepResult {
    this.error = `invalid character ${quoteCharacter(c)} ${context}`;
    return 'error';
  }

  push(parent: number): StepResult {
    if (this.parents.length >= MAX_JSON_DEPTH) {
      this.error = 'exceeded max depth';
      return 'error';
    }
    this.parents.push(parent);
    return 'go';
  }

  pop(): StepResult {
    this.parents.pop();
    this.step = afterValue;
    return 'closed';
  }

  #reset(): void {
    this.step = beginValue;
    this.parents.length = 0;
    this.inside = false;
  }
}

/** The offset of the next character in a string that is not plain text. */
function skipPlain(text: string, from: number): number {
  let i = from;
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === QUOTE || c === BACKSLASH || c < 0x20) break;
  }
  return i;
}

/** Go's quoting of one character in an error text. */
function quoteCharacter(c: number): string {
  if (c === 0x27) return "'\\''";
  if (c === QUOTE) return "'\"'";
  const named = { 7: 'a', 8: 'b', 9: 't', 10: 'n', 11: 'v', 12: 'f', 13: 'r', 92: '\\' }[c];
  if (named !== undefined) return `'\\${named}'`;
  if (c < 0x20 || c === 0x7f) return `'\\x${c.toString(16).padStart(2, '0')}'`;
  return `'${String.fromCharCode(leadingByte(c))}'`;
}

/** Go reads bytes: of a wide character it has seen, and quotes, the first byte of its UTF-8. */
function leadingByte(c: number): number {
  if (c < 0x80) return c;
  if (c < 0x800) return 0xc0 | (c >> 6);
  if (c >= 0xd800 && c < 0xdc00) return 0xf0 | ((c - 0xd800 + 0x40) >> 8);
  return 0xe0 | (c >> 12);
}

function beginValue(s: JsonScanner, c: number): StepResult {
  if (isSpace(c)) return 'go';
  switch (c) {
    case 0x7b:
      s.step = beginKeyOrEmpty;
      return s.push(IN_KEY);
    case 0x5b:
      s.step = beginElementOrEmpty;
      return s.push(IN_ARRAY);
    case QUOTE:
      s.step = inString;
      return 'go';
    case MINUS:
      s.step = afterMinus;
      return 'go';
    case 0x30:
      s.step = afterZero;
      return 'go';
    case 0x74:
      s.step = literal('true', 1);
      return 'go';
    case 0x66:
      s.step = literal('false', 1);
      return 'go';
    case 0x6e:
      s.step = literal('null', 1);
      return 'go';
  }
  if (isDigit(c)) {
    s.step = inDigits;
    return 'go';
  }
  return s.fail(c, 'looking for beginning of value');
}

function beginElementOrEmpty(s: JsonScanner, c: number): StepResult {
  if (isSpace(c)) return 'go';
  return c === 0x5d ? s.pop() : beginValue(s, c);
}

function beginKeyOrEmpty(s: JsonScanner, c: number): StepResult {
  if (isSpace(c)) return 'go';
  return c === 0x7d ? s.pop() : beginKey(s, c);
}

function beginKey(s: JsonScanner, c: number): StepResult {
  if (isSpace(c)) return 'go';
  if (c !== QUOTE) return s.fail(c, 'looking for beginning of object key string');
  s.step = inString;
  return 'go';
}

/** After any value: what may follow depends on what it stands in. */
function afterValue(s: JsonScanner, c: number): StepResult {
  const top = s.parents.length - 1;
  if (top < 0) return 'endBefore';
  if (isSpace(c)) {
    s.step = afterValue;
    return 'go';
  }
  switch (s.parents[top]) {
    case IN_KEY:
      if (c !== 0x3a) return s.fail(c, 'after object key');
      s.parents[top] = IN_VALUE;
      s.step = beginValue;
      return 'go';
    case IN_VALUE:
      if (c === 0x7d) return s.pop();
      if (c !== 0x2c) return s.fail(c, 'after object key:value pair');
      s.parents[top] = IN_KEY;
      s.step = beginKey;
      return 'go';
    default:
      if (c === 0x5d) return s.pop();
      if (c !== 0x2c) return s.fail(c, 'after array element');
      s.step = beginValue;
      return 'go';
  }
}

function inString(s: JsonScanner, c: number): StepResult {
  if (c === QUOTE) s.step = afterValue;
  else if (c === BACKSLASH) s.step = inEscape;
  else if (c < 0x20) return s.fail(c, 'in string literal');
  return 'go';
}

function inEscape(s: JsonScanner, c: number): StepResult {
  if (c === 0x75) s.step = inUnicodeEscape(4);
  else if ('bfnrt\\/"'.includes(String.fromCharCode(c))) s.step = inString;
  else return s.fail(c, 'in string escape code');
  return 'go';
}

const UNICODE_STEPS: Step[] = [];
for (let left = 1; left <= 4; left++) {
  UNICODE_STEPS[left] = (s, c) => {
    if (!isHex(c)) return s.fail(c, 'in \\u hexadecimal character escape');
    s.step = left === 1 ? inString : inUnicodeEscape(left - 1);
    return 'go';
  };
}
function inUnicodeEscape(left: number): Step {
  return UNICODE_STEPS[left] as Step;
}

function afterMinus(s: JsonScanner, c: number): StepResult {
  if (!isDigit(c)) return s.fail(c, 'in numeric literal');
  s.step = c === 0x30 ? afterZero : inDigits;
  return 'go';
}

function inDigits(s: JsonScanner, c: number): StepResult {
  return isDigit(c) ? 'go' : afterZero(s, c);
}

function afterZero(s: JsonScanner, c: number): StepResult {
  if (c === 0x2e) s.step = afterPoint;
  else if (c === 0x65 || c === 0x45) s.step = afterExponent;
  else return afterValue(s, c);
  return 'go';
}

function afterPoint(s: JsonScanner, c: number): StepResult {
  if (!isDigit(c)) return s.fail(c, 'after decimal point in numeric literal');
  s.step = inFraction;
  return 'go';
}

function inFraction(s: JsonScanner, c: number): StepResult {
  if (isDigit(c)) return 'go';
  if (c !== 0x65 && c !== 0x45) return afterValue(s, c);
  s.step = afterExponent;
  return 'go';
}

function afterExponent(s: JsonScanner, c: number): StepResult {
  if (c === 0x2b || c === MINUS) {
    s.step = afterExponentSign;
    return 'go';
  }
  return afterExponentSign(s, c);
}

function afterExponentSign(s: JsonScanner, c: number): StepResult {
  if (!isDigit(c)) return s.fail(c, 'in exponent of numeric literal');
  s.step = inExponent;
  return 'go';
}

function inExponent(s: JsonScanner, c: number): StepResult {
  return isDigit(c) ? 'go' : afterValue(s, c);
}

const LITERAL_STEPS = new Map<string, Step>();
function literal(word: string, at: number): Step {
  const name = `${word}${at}`;
  let step = LITERAL_STEPS.get(name);
  if (step === undefined) {
    step = (s, c) => {
      if (c !== word.charCodeAt(at)) return s.fail(c, `in literal ${word} (expecting '${word[at]}')`);
      s.step = at + 1 === word.length ? afterValue : literal(word, at + 1);
      return 'go';
    };
    LITERAL_STEPS.set(name, step);
  }
  return step;
}
