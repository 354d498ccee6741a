/** Container engines run the configured program of this name, or the one in their PATH. */
export const FUSE_OVERLAYFS = 'fuse-overlayfs'

/** The version of fuse-overlayfs whose options and layout of an upper directory are understood. */
const LIKE_VERSION = '1.16'

/** What `fuse-overlayfs --version` prints: engines show it, and some look for the first word and the number. */
export function fuseOverlayfsVersion(ownVersion: string): string {
  return `${FUSE_OVERLAYFS}: version ${LIKE_VERSION} (atomfs-fuse ${ownVersion})`
}
