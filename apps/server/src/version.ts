import manifest from '../package.json' with { type: 'json' };

/** Muster's own version. */
export const MUSTER_VERSION: string = manifest.version;

/**
 * The etcd version that this server speaks like, plain semver because clients parse it: kube-apiserver asks for at
 * least 3.5.13, or 3.6.
 */
export const ETCD_VERSION = '3.6.5';
/** The cluster version of etcd's `/version`: the minor line with a zero patch. */
export const ETCD_CLUSTER_VERSION = '3.6.0';
/** The storage format that status and snapshots name: that of etcd 3.6. */
export const ETCD_STORAGE_VERSION = '3.6.0';

/** `--version`, in etcd's shape. */
export function versionText(): string {
  return [
    `etcd Version: ${ETCD_VERSION}`,
    `Muster Version: ${MUSTER_VERSION}`,
    `Node Version: ${process.version}`,
    `Node OS/Arch: ${process.platform}/${process.arch}`,
    '',
  ].join('\n');
}
