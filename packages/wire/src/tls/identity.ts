/** A certificate with its key and the authorities it trusts, out of files that may be renewed while we run. */

import { constants } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import {
  checkServerIdentity,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type SecureContextOptions,
  type SecureVersion,
  type TLSSocket,
} from 'node:tls';
import { cipherList, opensslCipher } from './cipher-suites.ts';

/** Structured logging, fields first; pino's loggers fit. */
type TlsLog = {
  info(fields: Readonly<Record<string, unknown>>, text: string): void;
  warn(fields: Readonly<Record<string, unknown>>, text: string): void;
};

type TlsFiles = {
  /** PEM, the leaf first. */
  readonly cert?: string;
  readonly key?: string;
  /** What is shown to servers, where that differs. */
  readonly clientCert?: string;
  readonly clientKey?: string;
  /** PEM bundle. Without it, the authorities that this Node trusts. */
  readonly ca?: string;
  /** PEM or DER. */
  readonly crl?: string;
};

type TlsPolicy = {
  /** Callers without a certificate of `ca` are refused. Otherwise none is asked for. */
  readonly requireCertificate: boolean;
  /** Common names of which a caller's certificate must have one. Empty: any. */
  readonly allowedNames: readonly string[];
  /** Host names of which a caller's certificate must cover one. Empty: any. */
  readonly allowedHosts: readonly string[];
  /** IANA names. Empty: OpenSSL's choice. */
  readonly cipherSuites: readonly string[];
  readonly minVersion: SecureVersion;
  readonly maxVersion: SecureVersion | undefined;
  /** Servers are dialled without a look at their certificate: they signed it themselves. */
  readonly trustAnyServer: boolean;
  /** The common name of a verified caller is its user: otherwise sockets are not marked as `authorized`. */
  readonly certificateNames: boolean;
};

export type TlsIdentityOptions = {
  /** For the log: `client port`, `peer port`. */
  readonly name: string;
  readonly files: TlsFiles;
  readonly policy: TlsPolicy;
  readonly log: TlsLog;
};

/** Contexts for both directions, made of one reading of the files. */
type Loaded = {
  readonly print: string;
  readonly server: SecureContextOptions;
  readonly client: SecureContext;
};

/** The files are looked at for a change at most this often, when somebody connects. */
const LOOK_MS = 200;
/** Log lines on refused callers: so many in so long. */
const REFUSALS_LOGGED = 20;
const REFUSALS_WINDOW_MS = 10_000;

/** Files that cannot serve: the sentence names the file. */
export class TlsFilesRefused extends Error {
  override readonly name = 'TlsFilesRefused';
}

export class TlsIdentity {
  readonly policy: TlsPolicy;
  readonly #name: string;
  readonly #files: TlsFiles;
  readonly #log: TlsLog;
  #loaded: Loaded;
  #edition = 0;
  #lookedMs = -Infinity;
  /** The state of the files that was found broken, so that it is said once. */
  #broken = '';
  #refusals = { sinceMs: -Infinity, logged: 0, suppressed: 0 };

  /** Reads the files. Throws `TlsFilesRefused`. */
  constructor(options: TlsIdentityOptions) {
    this.#name = options.name;
    this.#files = options.files;
    this.policy = options.policy;
    this.#log = options.log;
    this.#loaded = this.#load(fingerprint(options.files));
  }

  /** For `tls.createServer` and what is made of it. Callers are verified by `admits`, which can say who they are. */
  get serverOptions(): SecureContextOptions & {
    readonly requestCert: boolean;
    readonly rejectUnauthorized: false;
  } {
    const { requireCertificate } = this.policy;
    return { ...this.#loaded.server, requestCert: requireCertificate, rejectUnauthorized: false };
  }

  /** For `tls.connect`, besides the address. */
  get clientOptions(): {
    readonly secureContext: SecureContext;
    readonly rejectUnauthorized: boolean;
    readonly minVersion: SecureVersion;
  } {
    this.refresh();
    return {
      secureContext: this.#loaded.client,
      rejectUnauthorized: !this.policy.trustAnyServer,
      minVersion: this.policy.minVersion,
    };
  }

  /**
   * Looks whether the files have changed, and takes the new ones. What cannot be used (half written, a key that does not
   * fit) is logged once, and the former ones stay.
   */
  refresh(): void {
    const nowMs = performance.now();
    if (nowMs - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = nowMs;
    const print = fingerprint(this.#files);
    if (print === this.#loaded.print || print === this.#broken) return;
    try {
      this.#loaded = this.#load(print);
    } catch (error) {
      this.#broken = print;
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.warn({ at: this.#name, reason }, 'renewed TLS files cannot be used, the former ones stay');
      return;
    }
    this.#broken = '';
    this.#edition++;
    this.#log.info({ at: this.#name, certificate: this.#files.cert }, 'renewed TLS files are in use');
  }

  /** Grows each time that new files are in use. */
  get edition(): number {
    return this.#edition;
  }

  /** Whether a caller whose handshake is done may stay. Says in the log whose certificate is refused, and why. */
  admits(socket: TLSSocket): boolean {
    const { requireCertificate, allowedNames, allowedHosts } = this.policy;
    if (!requireCertificate) return true;
    const certificate = socket.getPeerCertificate();
    const reason = refusalOf(socket, certificate, allowedNames, allowedHosts);
    if (reason === undefined) {
      // What reads the name later looks at this mark alone.
      if (!this.policy.certificateNames) socket.authorized = false;
      return true;
    }
    this.#refuse({ ...remoteOf(socket), ...subjectOf(certificate), reason });
    return false;
  }

  /** A handshake that failed before there was a certificate to look at. */
  handshakeFailed(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    // Those who only look whether the port is open are no news.
    if (error.code === 'ECONNRESET') return;
    this.#refuse({ ...remoteOf(socket), reason: HANDSHAKE_REASONS[error.code ?? ''] ?? error.message });
  }

  #refuse(fields: Readonly<Record<string, unknown>>): void {
    const nowMs = performance.now();
    if (nowMs - this.#refusals.sinceMs >= REFUSALS_WINDOW_MS) {
      const { suppressed } = this.#refusals;
      this.#refusals = { sinceMs: nowMs, logged: 0, suppressed: 0 };
      if (suppressed > 0) this.#log.warn({ at: this.#name, suppressed }, 'more connections were rejected');
    }
    if (this.#refusals.logged >= REFUSALS_LOGGED) {
      this.#refusals.suppressed++;
      return;
    }
    this.#refusals.logged++;
    this.#log.warn({ at: this.#name, ...fields }, 'rejected connection');
  }

  #load(print: string): Loaded {
    const unknown = this.policy.cipherSuites.find((name) => opensslCipher(name) === undefined);
    if (unknown !== undefined) throw new TlsFilesRefused(`unexpected TLS cipher suite "${unknown}"`);
    const { cert, key, clientCert, clientKey, ca, crl } = this.#files;
    const { requireCertificate, cipherSuites, minVersion, maxVersion } = this.policy;
    const common: SecureContextOptions = {
      minVersion,
      ...(maxVersion === undefined ? {} : { maxVersion }),
      ...(cipherSuites.length === 0 ? {} : { ciphers: cipherList(cipherSuites), honorCipherOrder: true }),
      ...(ca === undefined ? {} : { ca: read(ca) }),
      ...(crl === undefined ? {} : { crl: revocationLists(read(crl)) }),
    };
    const own = cert === undefined || key === undefined ? {} : { cert: read(cert), key: read(key) };
    const shown =
      clientCert === undefined || clientKey === undefined
        ? own
        : { cert: read(clientCert), key: read(clientKey) };
    const server: SecureContextOptions = {
      ...common,
      ...own,
      // A ticket would bring back a caller without another look at the certificate.
      ...(requireCertificate ? { secureOptions: constants.SSL_OP_NO_TICKET } : {}),
    };
    try {
      createSecureContext(server);
      return { print, server, client: createSecureContext({ ...common, ...shown }) };
    } catch (error) {
      const files = Object.values(this.#files).join(', ');
      throw new TlsFilesRefused(`${files}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function refusalOf(
  socket: TLSSocket,
  certificate: PeerCertificate,
  allowedNames: readonly string[],
  allowedHosts: readonly string[],
): string | undefined {
  if (!hasSubject(certificate)) return 'no certificate was shown';
  if (!socket.authorized) {
    const code = String(socket.authorizationError ?? 'not authorized');
    return VERIFY_REASONS[code] ?? code;
  }
  const name = commonNameOf(certificate);
  if (allowedNames.length > 0 && (name === undefined || !allowedNames.includes(name))) {
    return `the common name is none of ${allowedNames.join(', ')}`;
  }
  if (allowedHosts.length === 0) return undefined;
  // Without names for hosts Node would take the common name for one, which Go does not.
  const named = certificate.subjectaltname !== undefined;
  const covered = named && allowedHosts.some((host) => checkServerIdentity(host, certificate) === undefined);
  return covered ? undefined : `the certificate is valid for none of ${allowedHosts.join(', ')}`;
}

/** OpenSSL's names for what is wrong with a certificate, in words. */
const VERIFY_REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'the certificate has expired',
  CERT_NOT_YET_VALID: 'the certificate is not valid yet',
  CERT_REVOKED: 'the certificate is revoked',
  CRL_HAS_EXPIRED: 'the revocation list has expired',
  UNABLE_TO_GET_CRL: 'there is no revocation list of the authority that signed the certificate',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is signed by itself',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate is signed by an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT: 'the certificate is signed by an unknown authority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate is signed by an unknown authority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate is signed by an unknown authority',
  CERT_SIGNATURE_FAILURE: 'the signature of the certificate is wrong',
  INVALID_PURPOSE: 'the certificate is not meant for clients (extended key usage)',
};

const HANDSHAKE_REASONS: Readonly<Record<string, string>> = {
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'the TLS version that was offered is not served',
  ERR_SSL_VERSION_TOO_LOW: 'the TLS version that was offered is not served',
  ERR_SSL_HTTP_REQUEST: 'plain HTTP on a TLS port',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the first record is not one of TLS',
  ERR_SSL_NO_SHARED_CIPHER: 'no cipher suite in common',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'the caller refuses our certificate: bad certificate',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'the caller refuses our certificate: unknown authority',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'the caller refuses our certificate: expired',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: 'the caller refuses our certificate',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'the handshake took too long',
};

function hasSubject(certificate: PeerCertificate): boolean {
  // Node gives an empty object where there is none.
  return (certificate as Partial<PeerCertificate>).raw !== undefined;
}

function commonNameOf(certificate: Partial<PeerCertificate>): string | undefined {
  const name: string | string[] | undefined = certificate.subject?.CN;
  return Array.isArray(name) ? name.at(-1) : name;
}

function subjectOf(certificate: PeerCertificate): Readonly<Record<string, unknown>> {
  if (!hasSubject(certificate)) return {};
  return {
    subject: commonNameOf(certificate) ?? '',
    serial: certificate.serialNumber,
    issuer: commonNameOf({ subject: certificate.issuer }) ?? '',
    validTo: certificate.valid_to,
  };
}

function remoteOf(socket: TLSSocket): Readonly<Record<string, unknown>> {
  return { remote: `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}` };
}

/** What a change of any file changes. Through links: Kubernetes renews a secret by pointing a link elsewhere. */
function fingerprint(files: TlsFiles): string {
  return Object.values(files)
    .map((file) => {
      const stat = statSync(file, { throwIfNoEntry: false, bigint: true });
      return stat === undefined ? 'none' : `${stat.ino}/${stat.mtimeNs}/${stat.size}`;
    })
    .join(' ');
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new TlsFilesRefused(`open ${file}: ${code === 'ENOENT' ? 'no such file or directory' : code}`);
  }
}

/** One PEM text a list: Node takes one out of each. */
function revocationLists(bytes: Buffer): string[] {
  const text = bytes.toString('latin1');
  const lists = text.match(/-----BEGIN X509 CRL-----[\s\S]*?-----END X509 CRL-----/g);
  if (lists !== null) return lists;
  const body = bytes.toString('base64').replace(/.{64}/g, '$&\n');
  return [`-----BEGIN X509 CRL-----\n${body}\n-----END X509 CRL-----\n`];
}
