import { ERRORS, GrpcCode, KvError } from '@muster/contract';

/** etcdctl's exit codes (reference 5.1). */
export const Exit = {
  SUCCESS: 0,
  ERROR: 1,
  BAD_CONNECTION: 2,
  INVALID_INPUT: 3,
  BAD_FEATURE: 4,
  INTERRUPTED: 5,
  BAD_ARGS: 128,
} as const;

/** Ends the command: `Error: <message>` on standard error, unless the message is empty, and the exit code. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = Exit.ERROR) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Wrong arguments: exit code 128. */
export function badArgs(message: string): Failure {
  return new Failure(message, Exit.BAD_ARGS);
}

const CODE_NAMES = new Map<number, string>(
  Object.entries(GrpcCode).map(([name, code]) => [code, camel(name)]),
);

function camel(name: string): string {
  if (name === 'OK') return name;
  if (name === 'CANCELLED') return 'Canceled';
  return name.replace(/_?([A-Z])([A-Z]*)/g, (_, first: string, rest: string) => first + rest.toLowerCase());
}

/**
 * What etcdctl prints for a failed call: the text alone where its client has it in its table, else the text with the
 * gRPC code before it (reference 3.2).
 */
export function errorText(thrown: unknown): string {
  if (!(thrown instanceof KvError)) return thrown instanceof Error ? thrown.message : String(thrown);
  const known = thrown.message === ERRORS[thrown.code].text && !/^(auth|election): /.test(thrown.message);
  if (known && thrown.code !== 'INTERNAL') return thrown.message;
  const { grpc } = thrown.row;
  const text = thrown.message === ERRORS.INTERNAL.text ? (thrown.detail ?? thrown.message) : thrown.message;
  return `rpc error: code = ${CODE_NAMES.get(grpc) ?? grpc} desc = ${text}`;
}
