import { accessSync, constants, lstatSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { FsError, type PathText, systemPath } from '../../base/index.ts'
import { entryName } from '../../daemon/runtime/entry-name.ts'
import { openRunDir, type RunDirCandidate, runDirCandidates } from '../../daemon/runtime/folders.ts'
import { entryAt } from '../../daemon/runtime/mounted-entry.ts'
import { canonicalTarget } from '../../daemon/runtime/target.ts'
import { anchoredPath } from '../../sys/files/working-directory.ts'
import { readMountInfo } from '../../sys/mounts/mountinfo.ts'
import { namespaceNumber } from '../../sys/plain/namespaces.ts'

export { TEST_OVERRIDE_RUNTIME_DIR_KEY } from '../../daemon/runtime/folders.ts'

/**
 * The folder for runtime data that the next mount tries first: the one that the environment names
 * (`TEST_OVERRIDE_RUNTIME_DIR_KEY`), else `metadataDir`, else one of the user's own. For root that is `/run/atomfs`, as
 * in atomfs; for others `XDG_RUNTIME_DIR/atomfs`, or a folder below the temporary one. Nothing is made. A user
 * who has no such folder yet gets one below the temporary folder at the first mount, under a random name; until then the
 * answer is `/run/atomfs`.
 */
export function runtimeDir(metadataDir?: PathText): PathText {
  const candidates = runDirCandidates(metadataDir || undefined)
  const best = candidates.find(isUsable) ?? candidates[0]
  return best?.path ?? '/run/atomfs'
}

function isUsable(candidate: RunDirCandidate): boolean {
  if (candidate.named) return true
  const folder = openRunDir(candidate)
  folder?.close()
  if (folder !== undefined) return true
  try {
    if (lstatSync(systemPath(candidate.path), { throwIfNoEntry: false }) !== undefined) return false
    accessSync(systemPath(dirname(candidate.path)), constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Number of the mount namespace of this process, in digits. Runtime data of different namespaces are kept apart by it.
 * @throws FsError ENOENT where /proc does not tell
 */
export function getMountNamespaceName(): string {
  const number = namespaceNumber('mnt')
  if (number === undefined)
    throw new FsError('ENOENT', '/proc/self/ns/mnt: does not tell the mount namespace')
  return String(number)
}

/**
 * A path as one file name: without its first slash, other slashes as dashes. Different paths can have the same name; a
 * mount then takes another one, which `metadataPath` of its molecule knows.
 */
export function replacePathSeparators(path: PathText): PathText {
  return (path.startsWith('/') ? path.slice(1) : path).replaceAll('/', '-')
}

/**
 * The folder with the runtime data of a mount: where it is, if something of ours is mounted on the target; else where
 * the next mount would put it. `config.json` in it is that of atomfs.
 * @throws FsError ENOENT, ENOTDIR, EACCES, ELOOP for the folder that holds the target
 */
export function metadataPathOf(target: PathText, metadataDir?: PathText): PathText {
  const mounts = readMountInfo()
  const path = canonicalTarget(anchoredPath(target), mounts)
  const entry = entryAt(path, mounts, metadataDir || undefined)
  return entry?.folder ?? join(runtimeDir(metadataDir), 'meta', getMountNamespaceName(), entryName(path))
}
