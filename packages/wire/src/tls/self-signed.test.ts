import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { createSecureContext } from 'node:tls';
import { selfSigned } from './self-signed.ts';

const NOW = Date.UTC(2026, 0, 15, 12);

describe('a self-signed certificate', () => {
  it('is one that OpenSSL reads, fits its key, and names the hosts', () => {
    const hosts = ['localhost', '10.1.2.3', '::1', '2001:db8::ff00:42:8329', 'a.example'];
    const { cert, key } = selfSigned(hosts, 1, NOW);
    const certificate = new X509Certificate(cert);
    createSecureContext({ cert, key });
    assert.ok(certificate.verify(certificate.publicKey));
    assert.equal(certificate.ca, false);
    for (const host of ['localhost', 'a.example']) assert.equal(certificate.checkHost(host), host);
    for (const ip of ['10.1.2.3', '::1', '2001:db8::ff00:42:8329']) assert.ok(certificate.checkIP(ip), ip);
    assert.equal(certificate.checkIP('10.1.2.4'), undefined);
    assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    assert.equal(certificate.subject, 'O=muster');
  });

  it('is valid from a day ago for as many years as asked for, past 2049 too', () => {
    for (const years of [1, 10, 40]) {
      const { validFromDate, validToDate } = new X509Certificate(selfSigned(['x'], years, NOW).cert);
      assert.equal(validFromDate.getTime(), NOW - 86_400_000);
      assert.equal(validToDate.getTime(), NOW + years * 365 * 86_400_000);
    }
  });

  it('has a number of its own', () => {
    const serials = new Set(
      Array.from({ length: 20 }, () => new X509Certificate(selfSigned(['x'], 1, NOW).cert).serialNumber),
    );
    assert.equal(serials.size, 20);
  });
});
