/** Where a member writes what an operator should know. Fields are plain values; bigint ids come as hex text. */
export type MemberLog = (
  level: 'debug' | 'info' | 'warn' | 'error',
  text: string,
  fields?: Readonly<Record<string, string | number | boolean>>,
) => void;
