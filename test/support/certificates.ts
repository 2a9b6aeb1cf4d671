/** Certificates of a throw-away authority, made with openssl (Debian's package of that name). */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { debianProgram } from './debian.ts';

const run = promisify(execFile);

/** Paths of PEM files. */
export type Certificate = { readonly cert: string; readonly key: string };

export type Issue = {
  /** Common name of the subject. */
  readonly cn: string;
  readonly usages?: readonly ('serverAuth' | 'clientAuth')[];
  /** As openssl writes them: `IP:127.0.0.1`, `DNS:localhost`. */
  readonly names?: readonly string[];
  /** From now on; 0 or less is over already. Default 30. */
  readonly days?: number;
};

export type Authority = {
  readonly ca: string;
  /** A certificate under this authority, in files that begin with `name`; an old one is replaced. */
  issue(name: string, options: Issue): Promise<Certificate>;
};

export type Certificates = {
  readonly ca: string;
  /** For 127.0.0.1 and localhost, as server and as client. */
  readonly server: Certificate;
  /** Of a client named `client`. */
  readonly client: Certificate;
  readonly peer: Certificate;
  readonly authority: Authority;
};

const DAY_MS = 86_400_000;
const LOOPBACK = ['IP:127.0.0.1', 'DNS:localhost'];

/** An authority in `dir`, whose files begin with `name`. */
export async function makeAuthority(dir: string, name = 'ca'): Promise<Authority> {
  const openssl = debianProgram('openssl', 'openssl') ?? 'openssl';
  mkdirSync(dir, { recursive: true });
  const at = (file: string) => join(dir, file);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await run(openssl, [
    ...['req', '-x509', ...newKey, '-subj', `/CN=${name}`, '-days', '30'],
    ...['-keyout', at(`${name}.key`), '-out', at(`${name}.crt`)],
  ]);
  return {
    ca: at(`${name}.crt`),
    async issue(file, { cn, usages = ['serverAuth', 'clientAuth'], names = LOOPBACK, days = 30 }) {
      const [key, cert, request, extensions] = ['key', 'crt', 'csr', 'ext'].map((end) =>
        at(`${file}.${end}`),
      );
      const lines = [
        `subjectAltName=${names.join(',')}`,
        `extendedKeyUsage=${usages.join(',')}`,
        'keyUsage=digitalSignature',
      ];
      writeFileSync(extensions as string, `${lines.join('\n')}\n`);
      const asked = ['req', '-new', ...newKey, '-subj', `/CN=${cn}`];
      await run(openssl, [...asked, '-keyout', key as string, '-out', request as string]);
      await sign(openssl, { dir, name, request: request as string, cert: cert as string, extensions, days });
      return { cert: cert as string, key: key as string };
    },
  };
}

/** What a cluster of one machine and its clients need. */
export async function makeCertificates(dir: string): Promise<Certificates> {
  const authority = await makeAuthority(dir);
  return {
    ca: authority.ca,
    server: await authority.issue('server', { cn: '127.0.0.1' }),
    client: await authority.issue('client', { cn: 'client', usages: ['clientAuth'] }),
    peer: await authority.issue('peer', { cn: 'peer' }),
    authority,
  };
}

/** `openssl ca`, because it alone takes times in the past. */
async function sign(
  openssl: string,
  options: {
    readonly dir: string;
    readonly name: string;
    readonly request: string;
    readonly cert: string;
    readonly extensions: string | undefined;
    readonly days: number;
  },
): Promise<void> {
  const { dir, name, request, cert, extensions, days } = options;
  const config = join(dir, `${name}.cnf`);
  writeFileSync(join(dir, `${name}.index`), '');
  writeFileSync(
    config,
    [
      '[ca]\ndefault_ca=default',
      `[default]\ndatabase=${join(dir, `${name}.index`)}\nnew_certs_dir=${dir}\nrand_serial=yes`,
      `certificate=${join(dir, `${name}.crt`)}\nprivate_key=${join(dir, `${name}.key`)}`,
      'default_md=sha256\npolicy=any\nunique_subject=no\n[any]\ncommonName=supplied\n',
    ].join('\n'),
  );
  const now = Date.now();
  const times = ['-startdate', timeText(now - 2 * DAY_MS), '-enddate', timeText(now + days * DAY_MS - 1000)];
  await run(openssl, [
    ...['ca', '-batch', '-notext', '-config', config, '-in', request, '-out', cert],
    ...['-extfile', extensions as string, ...times],
  ]);
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
}
