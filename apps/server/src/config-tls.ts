/** What the flags say about TLS on one of the two ports. */
import type { TlsIdentityOptions } from '@muster/wire';
import { flagsRefused, StartRefused } from './command-line.ts';
import type { FlagValues } from './flag-table.ts';

export type TlsConfig = {
  readonly files: TlsIdentityOptions['files'];
  readonly policy: TlsIdentityOptions['policy'];
  /** The files are to be made first, for this many years, when they are not there. */
  readonly selfSignedYears: number | undefined;
};

type Port = 'client' | 'peer';

/** `undefined` where nothing is spoken over TLS. Throws `StartRefused`. */
export function tlsConfigOf(values: FlagValues, port: Port, warnings: string[]): TlsConfig | undefined {
  const versions = versionsOf(values);
  const settings = port === 'client' ? clientSettings(values) : peerSettings(values);
  const urls = settings.urls.filter((url) => /^(https|unixs):/.test(url));
  const hasFiles = settings.files.cert !== undefined && settings.files.key !== undefined;
  const prefix = port === 'client' ? '' : 'peer-';
  if (!hasFiles && !settings.auto) {
    refuseHttps(port, settings.own);
    if (settings.files.cert !== undefined || settings.files.key !== undefined) {
      throw new StartRefused(
        `--${prefix}cert-file and --${prefix}key-file must both be present or both be absent`,
      );
    }
    // What is dialled may speak TLS where nothing is served over it.
    if (urls.length === 0) return undefined;
  }
  if (hasFiles && settings.auto) {
    warnings.push(`ignoring --${prefix}auto-tls: --${prefix}cert-file and --${prefix}key-file are given`);
  }
  const loose = settings.own.filter((url) => /^(http|unix):/.test(url));
  if (loose.length > 0) {
    const auth = settings.requireCertificate ? `, and --${prefix}client-cert-auth does not count there` : '';
    warnings.push(
      `the scheme of ${loose.join(',')} is plain while there are certificates: it is served without TLS${auth}`,
    );
  }
  return {
    files: settings.files,
    policy: {
      requireCertificate: settings.requireCertificate,
      allowedNames: settings.names,
      allowedHosts: settings.hosts,
      ...versions,
      certificateNames: port === 'client' && values['client-cert-auth'],
      trustAnyServer: !hasFiles && settings.auto && settings.files.ca === undefined,
    },
    selfSignedYears: !hasFiles && settings.auto ? values['self-signed-cert-validity'] : undefined,
  };
}

type Settings = {
  /** Where TLS may be spoken, in either direction. */
  readonly urls: readonly string[];
  /** What this member serves. */
  readonly own: readonly string[];
  readonly files: TlsIdentityOptions['files'];
  readonly auto: boolean;
  readonly requireCertificate: boolean;
  readonly names: readonly string[];
  readonly hosts: readonly string[];
};

function clientSettings(values: FlagValues): Settings {
  const own = [
    ...values['listen-client-urls'],
    ...values['listen-client-http-urls'],
    ...values['listen-metrics-urls'],
  ];
  return {
    urls: own,
    own,
    files: {
      ...file('cert', values['cert-file']),
      ...file('key', values['key-file']),
      ...file('ca', values['trusted-ca-file']),
      ...file('crl', values['client-crl-file']),
    },
    auto: values['auto-tls'],
    requireCertificate: values['client-cert-auth'] || values['trusted-ca-file'] !== '',
    names: [],
    hosts: values['client-cert-allowed-hostname'],
  };
}

function peerSettings(values: FlagValues): Settings {
  const own = values['listen-peer-urls'];
  return {
    urls: [...own, ...values['initial-cluster'].split(',').map((pair) => pair.slice(pair.indexOf('=') + 1))],
    own,
    files: {
      ...file('cert', values['peer-cert-file']),
      ...file('key', values['peer-key-file']),
      ...file('clientCert', values['peer-client-cert-file']),
      ...file('clientKey', values['peer-client-key-file']),
      ...file('ca', values['peer-trusted-ca-file']),
      ...file('crl', values['peer-crl-file']),
    },
    auto: values['peer-auto-tls'],
    requireCertificate: values['peer-client-cert-auth'] || values['peer-trusted-ca-file'] !== '',
    names: values['peer-cert-allowed-cn'],
    hosts: values['peer-cert-allowed-hostname'],
  };
}

function file(name: string, path: string): Readonly<Record<string, string>> {
  return path === '' ? {} : { [name]: path };
}

function refuseHttps(port: Port, own: readonly string[]): void {
  const url = own.find((one) => /^(https|unixs):/.test(one));
  if (url === undefined) return;
  throw new StartRefused(
    port === 'client'
      ? `TLS key/cert (--cert-file, --key-file) must be provided for client url ${url} with HTTPS scheme`
      : `cannot listen on TLS for ${url.replace(/^[^:]*:\/\//, '')}: KeyFile and CertFile are not presented`,
  );
}

function versionsOf(values: FlagValues) {
  const minVersion = values['tls-min-version'] ?? 'TLSv1.2';
  const maxVersion = values['tls-max-version'];
  const cipherSuites = values['cipher-suites'];
  if (maxVersion !== undefined && maxVersion < minVersion) {
    throw flagsRefused(
      `min version (${goVersion(minVersion)}) is greater than max version (${goVersion(maxVersion)})`,
    );
  }
  if (minVersion === 'TLSv1.3' && cipherSuites.length > 0) {
    throw flagsRefused('cipher suites cannot be configured when only TLS1.3 is enabled');
  }
  return { minVersion, maxVersion, cipherSuites };
}

function goVersion(version: string): string {
  return version.replace('v', '');
}
