/** Certificates for tests, made by openssl: an authority, what it signs, and what it takes back. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from './muster.ts';

/** PEM files. */
export type KeyPair = { readonly cert: string; readonly key: string };

type CertificateRequest = {
  /** Common name. */
  readonly name: string;
  /** Subject alternative names; default: the loopback address and `localhost`. */
  readonly addresses?: readonly string[];
  readonly hosts?: readonly string[];
  /** Extended key usage; default: both. */
  readonly usage?: 'serverAuth' | 'clientAuth' | 'serverAuth,clientAuth';
  /** Default: from yesterday to in thirty days. */
  readonly validFrom?: Date;
  readonly validTo?: Date;
};

const DAY_MS = 86_400_000;

const CONFIG = `
[ca]
default_ca = test
[test]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
default_crl_days = 30
[any]
commonName = supplied
`;

/** One authority in a directory of its own, which is gone with the process. */
export class CertificateAuthority {
  readonly directory: string;
  /** Its own certificate: what clients and servers are told to trust. */
  readonly cert: string;
  readonly #key: string;
  #count = 0;

  constructor(name = 'test authority') {
    this.directory = temporaryDirectory('certificates');
    this.cert = join(this.directory, 'ca.pem');
    this.#key = join(this.directory, 'ca-key.pem');
    writeFileSync(join(this.directory, 'ca.cnf'), CONFIG);
    writeFileSync(join(this.directory, 'index.txt'), '');
    this.#openssl(
      'req',
      '-x509',
      ...EC,
      '-keyout',
      this.#key,
      '-out',
      this.cert,
      '-days',
      '30',
      '-subj',
      `/CN=${name}`,
    );
  }

  /** A certificate with a new key, as `<file>.pem` and `<file>-key.pem`; both are replaced when they are there. */
  issue(request: CertificateRequest, file = `cert-${++this.#count}`): KeyPair {
    const { name, addresses = ['127.0.0.1', '::1'], hosts = ['localhost'] } = request;
    const from = request.validFrom ?? new Date(Date.now() - DAY_MS);
    const to = request.validTo ?? new Date(Date.now() + 30 * DAY_MS);
    const names = [...addresses.map((ip) => `IP:${ip}`), ...hosts.map((host) => `DNS:${host}`)];
    const [csr, extensions] = [join(this.directory, `${file}.csr`), join(this.directory, `${file}.ext`)];
    const pair = { cert: join(this.directory, `${file}.pem`), key: join(this.directory, `${file}-key.pem`) };
    writeFileSync(
      extensions,
      [
        'keyUsage=digitalSignature',
        `extendedKeyUsage=${request.usage ?? 'serverAuth,clientAuth'}`,
        ...(names.length === 0 ? [] : [`subjectAltName=${names.join(',')}`]),
      ].join('\n'),
    );
    this.#openssl('req', '-new', ...EC, '-keyout', pair.key, '-subj', `/CN=${name}`, '-out', csr);
    const dates = ['-startdate', asn1(from), '-enddate', asn1(to)];
    this.#ca('-in', csr, '-out', pair.cert, '-extfile', extensions, '-notext', ...dates);
    return pair;
  }

  /** The revocation list as a file, after taking back these certificates. */
  revoke(...certs: readonly string[]): string {
    for (const cert of certs) this.#ca('-revoke', cert);
    const crl = join(this.directory, 'crl.pem');
    this.#ca('-gencrl', '-out', crl);
    return crl;
  }

  #ca(...args: readonly string[]): void {
    this.#openssl('ca', '-batch', '-config', 'ca.cnf', '-cert', this.cert, '-keyfile', this.#key, ...args);
  }

  #openssl(...args: readonly string[]): void {
    execFileSync('openssl', args, { cwd: this.directory, stdio: ['ignore', 'ignore', 'pipe'] });
  }
}

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

function asn1(date: Date): string {
  return `${date.toISOString().replace(/[-:T]|\.\d+/g, '')}`;
}
