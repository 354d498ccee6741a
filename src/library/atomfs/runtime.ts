import { join } from 'node:path'
import { FsError, type PathText } from '../../base/index.ts'
import { entryPlace, nextRunDir } from '../../daemon/client/places.ts'
import { anchoredPath } from '../../sys/files/working-directory.ts'
import { namespaceNumber } from '../../sys/plain/namespaces.ts'

export { TEST_OVERRIDE_RUNTIME_DIR_KEY } from '../../daemon/client/places.ts'

/**
 * The folder for runtime data that the next mount tries first: the one that the environment names
 * (`TEST_OVERRIDE_RUNTIME_DIR_KEY`), else `metadataDir`, else one of the user's own. For root that is `/run/atomfs`, as
 * in atomfs; for others `XDG_RUNTIME_DIR/atomfs`, or a folder below the temporary one. Nothing is made. A user
 * who has no such folder yet gets one below the temporary folder at the first mount, under a random name; until then the
 * answer is `/run/atomfs`.
 */
export function runtimeDir(metadataDir?: PathText): PathText {
  return nextRunDir(metadataDir || undefined) ?? '/run/atomfs'
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
  const { folder, name } = entryPlace(anchoredPath(target), metadataDir || undefined)
  return folder ?? join(runtimeDir(metadataDir), 'meta', getMountNamespaceName(), name)
}
