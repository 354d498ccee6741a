import type { Personality } from './personality.ts'
import { runCommand } from './run-command.ts'

/** Container engines run the configured program of this name, or the one in their PATH. */
const NAME = 'fuse-overlayfs'

/** The version of fuse-overlayfs whose options and layout of an upper directory are understood. */
const LIKE_VERSION = '1.16'

/** `fuse-overlayfs -o lowerdir=… TARGET`: the command `overlay`. */
export const fuseOverlayfs: Personality = {
  names: [NAME],
  run: (words, name) => runCommand(['overlay', ...words], { name, versionLine: fuseOverlayfsVersion }),
}

/** What `fuse-overlayfs --version` prints: engines show it, and some look for the first word and the number. */
export function fuseOverlayfsVersion(ownVersion: string): string {
  return `${NAME}: version ${LIKE_VERSION} (atomfs-fuse ${ownVersion})`
}
