/** A start that was refused: what to print, and the exit status. */
export class StartRefused extends Error {
  override readonly name = 'StartRefused';
  readonly exitCode: number;
  /** Print the usage too. */
  readonly usage: boolean;
  /** A line after the message, or nothing. */
  readonly hint: string;

  constructor(
    message: string,
    options: { readonly exitCode?: number; readonly usage?: boolean; readonly hint?: string } = {},
  ) {
    super(message);
    this.exitCode = options.exitCode ?? 1;
    this.usage = options.usage ?? false;
    this.hint = options.hint ?? '';
  }
}
