import { formatLines } from '../print/format.ts'
import { readOverlayWords } from './overlay-words.ts'
import type { Personality } from './personality.ts'
import { runCommand } from './run-command.ts'

/** Container engines run the configured program of this name, or the one in their PATH. */
const NAME = 'fuse-overlayfs'

/** The version of fuse-overlayfs whose options and layout of an upper directory are understood. */
const LIKE_VERSION = '1.16'

/** `fuse-overlayfs -o lowerdir=… TARGET`: the command `overlay`, which words that are unknown do not stop. */
export const fuseOverlayfs: Personality = {
  names: [NAME],
  run: (words, name) => {
    const { known, ignored } = readOverlayWords(words)
    process.stderr.write(formatLines(ignored.map((word) => `unknown argument ignored: ${word}`)))
    const called = { name, versionLine: fuseOverlayfsVersion }
    return runCommand(['overlay', ...known, ...debugLog(known)], called)
  },
}

/** What `fuse-overlayfs --version` prints: engines show it, and some look for the first word and the number. */
export function fuseOverlayfsVersion(ownVersion: string): string {
  return `${NAME}: version ${LIKE_VERSION} (atomfs-fuse ${ownVersion})`
}

/** The variable by which fuse-overlayfs logs to a file, as options of ours. Those that are there count more. */
function debugLog(words: readonly string[]): readonly string[] {
  const file = process.env['FUSE_OVERLAYFS_DEBUG_LOG']
  if (file === undefined || file === '' || words.some((word) => word.startsWith('--log'))) return []
  return ['--log', file, '--debug']
}
