/** Certificates for `--auto-tls`: X.509 version 3 in DER (RFC 5280), signed with their own key (ECDSA, P-256). */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import { assert, concatBytes } from '@muster/base';

type SelfSigned = {
  /** Both PEM. */
  readonly cert: string;
  readonly key: string;
};

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  /** Context-specific, constructed. */
  version: 0xa0,
  extensions: 0xa3,
  /** Context-specific, primitive: names in a subject alternative name. */
  dnsName: 0x82,
  ipAddress: 0x87,
} as const;

const OID = {
  organization: [2, 5, 4, 10],
  ecdsaWithSha256: [1, 2, 840, 10045, 4, 3, 2],
  keyUsage: [2, 5, 29, 15],
  subjectAltName: [2, 5, 29, 17],
  basicConstraints: [2, 5, 29, 19],
  extendedKeyUsage: [2, 5, 29, 37],
  serverAuth: [1, 3, 6, 1, 5, 5, 7, 3, 1],
  clientAuth: [1, 3, 6, 1, 5, 5, 7, 3, 2],
} as const;

const DAY_MS = 86_400_000;
/** From this year on, times are written with four digits of the year. */
const GENERALIZED_FROM_YEAR = 2050;

/** A certificate for `hosts` (names and addresses), good for both ends of a connection from now on. */
export function selfSigned(hosts: readonly string[], years: number, nowMs: number): SelfSigned {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = der(TAG.sequence, oid(OID.ecdsaWithSha256));
  const name = der(
    TAG.sequence,
    der(TAG.set, der(TAG.sequence, oid(OID.organization), der(TAG.utf8, ascii('muster')))),
  );
  const serial = randomBytes(16);
  // Positive, and with no byte that could be left out.
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40;
  const toBeSigned = der(
    TAG.sequence,
    der(TAG.version, der(TAG.integer, Uint8Array.of(2))),
    der(TAG.integer, serial),
    algorithm,
    name,
    der(TAG.sequence, time(nowMs - DAY_MS), time(nowMs + years * 365 * DAY_MS)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(TAG.extensions, der(TAG.sequence, ...extensions(hosts))),
  );
  const signature = sign('sha256', toBeSigned, privateKey);
  const certificate = der(TAG.sequence, toBeSigned, algorithm, der(TAG.bits, Uint8Array.of(0), signature));
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  return { cert: pem('CERTIFICATE', certificate), key: key.toString() };
}

function extensions(hosts: readonly string[]): Uint8Array[] {
  const names = hosts.map((host) =>
    isIP(host) === 0 ? der(TAG.dnsName, ascii(host)) : der(TAG.ipAddress, addressBytes(host)),
  );
  // Bit 0, digitalSignature; the last seven bits are not used.
  const usage = der(TAG.bits, Uint8Array.of(7, 0x80));
  return [
    extension(OID.keyUsage, true, usage),
    extension(OID.basicConstraints, true, der(TAG.sequence)),
    extension(OID.extendedKeyUsage, false, der(TAG.sequence, oid(OID.serverAuth), oid(OID.clientAuth))),
    extension(OID.subjectAltName, false, der(TAG.sequence, ...names)),
  ];
}

function extension(id: readonly number[], critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? [der(TAG.boolean, Uint8Array.of(0xff))] : [];
  return der(TAG.sequence, oid(id), ...flag, der(TAG.octets, value));
}

function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts);
  return concatBytes(Uint8Array.of(tag, ...lengthOf(content.length)), content);
}

function lengthOf(length: number): number[] {
  if (length < 0x80) return [length];
  assert(length < 0x10000, 'certificates are short');
  return length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
}

function oid([first = 0, second = 0, ...rest]: readonly number[]): Uint8Array {
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return der(TAG.oid, Uint8Array.from(bytes));
}

function time(ms: number): Uint8Array {
  const digits = `${new Date(ms).toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`;
  return Number(digits.slice(0, 4)) < GENERALIZED_FROM_YEAR
    ? der(TAG.utcTime, ascii(digits.slice(2)))
    : der(TAG.generalizedTime, ascii(digits));
}

/** The 4 or 16 bytes of an IP address. */
function addressBytes(ip: string): Uint8Array {
  if (isIP(ip) === 4) return Uint8Array.from(ip.split('.'), Number);
  // The address as URLs write it has at most one gap, and no dotted tail.
  const [head = '', tail] = new URL(`http://[${ip}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const [before, after] = [groups(head), groups(tail ?? '')];
  const all = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  return Uint8Array.from(all.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 0xff]));
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function pem(label: string, bytes: Uint8Array): string {
  const lines = Buffer.from(bytes)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
