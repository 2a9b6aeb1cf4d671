import { createSecureContext, getCACertificates } from 'node:tls';
import { type ChannelCredentials, experimental } from '@grpc/grpc-js';
import type { ClientTls } from './options.ts';

type CaListener = Parameters<experimental.CertificateProvider['addCaCertificateListener']>[0];
type IdentityListener = Parameters<experimental.CertificateProvider['addIdentityCertificateListener']>[0];

/** Certificates as grpc-js asks for them: each new connection is made with the newest. */
export class Certificates implements experimental.CertificateProvider {
  readonly #caListeners = new Set<CaListener>();
  readonly #identityListeners = new Set<IdentityListener>();
  #tls: ClientTls;

  constructor(tls: ClientTls) {
    check(tls);
    this.#tls = tls;
  }

  /** From now on these. Throws when they do not fit together, and keeps the former ones. */
  renew(tls: ClientTls): void {
    check(tls);
    this.#tls = tls;
    for (const listener of this.#caListeners) listener(this.#ca());
    for (const listener of this.#identityListeners) listener(this.#identity());
  }

  credentials(): ChannelCredentials {
    const { insecureSkipVerify = false, cert } = this.#tls;
    return experimental.createCertificateProviderChannelCredentials(this, cert === undefined ? null : this, {
      rejectUnauthorized: !insecureSkipVerify,
      ...(insecureSkipVerify ? { checkServerIdentity: () => undefined } : {}),
    });
  }

  addCaCertificateListener(listener: CaListener): void {
    this.#caListeners.add(listener);
    process.nextTick(listener, this.#ca());
  }

  removeCaCertificateListener(listener: CaListener): void {
    this.#caListeners.delete(listener);
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.add(listener);
    process.nextTick(listener, this.#identity());
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.delete(listener);
  }

  #ca() {
    return { caCertificate: Buffer.from(this.#tls.ca ?? getCACertificates('default').join('\n')) };
  }

  #identity() {
    const { cert, key } = this.#tls;
    return cert === undefined || key === undefined
      ? null
      : { certificate: Buffer.from(cert), privateKey: Buffer.from(key) };
  }
}

/** OpenSSL says what does not fit. */
function check({ ca, cert, key }: ClientTls): void {
  const pem = (text: string | Uint8Array) => Buffer.from(text);
  createSecureContext({
    ...(ca === undefined ? {} : { ca: pem(ca) }),
    ...(cert === undefined ? {} : { cert: pem(cert) }),
    ...(key === undefined ? {} : { key: pem(key) }),
  });
}
