import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  FsError,
  isErrno,
  messageOf,
  omitUndefined,
  type PathText,
  systemPath,
  withFsError,
} from '../base/index.ts'
import { umount } from '../daemon/client/umount.ts'
import { removeChanges } from '../molecule/index.ts'
import { rmdirAt } from '../sys/files/at.ts'
import { Folder } from '../sys/files/folder.ts'
import { realPathOrItself } from '../sys/files/real-path.ts'
import { nameOf } from '../sys/files/walk.ts'
import { absolutePath } from '../sys/files/working-directory.ts'
import { readMountInfo, topMountAt } from '../sys/mounts/mountinfo.ts'
import type { UnderWay } from './under-way.ts'

/** What is in a bundle, beside `config.json`. */
export const ROOTFS = 'rootfs'
export const CHANGES = 'changes'
/** Says that this program has made the bundle. */
export const MARK = 'atomfs-bundle.json'
/** Where runtimes keep the state of the container; `run` says so. */
export const RUNTIME_ROOT = 'runtime'

/** A daemon that ends has a few files to close. */
const RELEASE_TIMEOUT_MS = 10_000
const RELEASE_INTERVAL_MS = 10

/** How long a runtime may take to kill a container. */
const KILL_TIMEOUT_MS = 10_000

/**
 * Removes a bundle: unmounts its root file system, and removes what this program has put into its directory.
 * @throws FsError EINVAL for what is no bundle, EBUSY while a container runs in it, ENOTEMPTY where somebody has put
 *   something else into it
 */
export async function removeBundle(
  directory: PathText,
  options: { readonly metadataDir?: PathText; readonly lazy?: boolean } = {},
): Promise<void> {
  const path = absolutePath(directory)
  const folder = withFsError(path, () => Folder.open(realPathOrItself(path), { guarded: false }))
  try {
    const mark = folder.read(MARK)
    if (mark === undefined) {
      throw new FsError('EINVAL', `${path} is no bundle that this program has made: nothing is removed`)
    }
    await unmount(join(path, ROOTFS), options.lazy ?? false, options.metadataDir ?? metadataDirOf(mark))
    await removeChangesOf(folder)
    folder.remove(RUNTIME_ROOT)
    folder.removeWritten('config.json')
    removeEmpty(folder, ROOTFS)
    const others = folder.names().filter((name) => name !== MARK)
    const [other] = others
    if (other !== undefined) {
      throw new FsError(
        'ENOTEMPTY',
        `${path}: ${other} is not of the bundle and stays: move it away, and try again`,
      )
    }
    folder.remove(MARK)
  } finally {
    folder.close()
  }
  removeName(path)
}

function removeName(path: PathText): void {
  const parent = Folder.open(realPathOrItself(dirname(path)), { guarded: false })
  try {
    rmdirAt(parent.fd, nameOf(basename(path)))
  } finally {
    parent.close()
  }
}

function metadataDirOf(mark: string): PathText | undefined {
  try {
    const record: unknown = JSON.parse(mark)
    if (typeof record !== 'object' || record === null || !('metadataDir' in record)) return undefined
    return typeof record.metadataDir === 'string' ? record.metadataDir : undefined
  } catch {
    return undefined
  }
}

function isMountedAt(path: PathText): boolean {
  return topMountAt(readMountInfo(), path) !== undefined
}

async function unmount(target: PathText, lazy: boolean, metadataDir: PathText | undefined): Promise<void> {
  const real = realPathOrItself(target)
  // More than once where somebody has mounted something over it.
  while (isMountedAt(real)) {
    try {
      await umount(real, { lazy, ...omitUndefined({ metadataDir }) })
    } catch (error) {
      // A process that is being killed may still end its mount: that is all that was wanted.
      if (!isErrno(error, 'EINVAL', 'ENOENT') || isMountedAt(real)) throw error
    }
  }
}

/** Waits for the process of the mount to let go of them. @throws FsError EBUSY */
async function removeChangesOf(folder: Folder): Promise<void> {
  const changes = folder.find(CHANGES)
  if (changes === undefined) return
  changes.close()
  for (const deadline = performance.now() + RELEASE_TIMEOUT_MS; !removeChanges(folder, CHANGES); ) {
    if (performance.now() >= deadline) {
      throw new FsError(
        'EBUSY',
        `${folder.path}: the process of its mount has not ended: a container still runs in it`,
      )
    }
    await sleep(RELEASE_INTERVAL_MS)
  }
}

function removeEmpty(folder: Folder, name: string): void {
  try {
    rmdirAt(folder.fd, name)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  }
}

/** Removes what was made of a bundle, however little, and its container. @throws FsError where something stays */
export async function undo(
  { directory, remove }: UnderWay,
  metadataDir: PathText | undefined,
): Promise<void> {
  try {
    if (!isMarked(directory)) {
      removeUnmarked(directory)
      return
    }
    // Not before: runtimes make the directory for their state anew, with all above it, to look for a container in it.
    if (remove !== undefined) removeContainer(remove)
    await removeBundle(directory, { lazy: true, ...omitUndefined({ metadataDir }) })
  } catch (error) {
    // Somebody else has removed it.
    if (!isErrno(error, 'ENOENT', 'ENOTDIR') || isThere(directory)) throw error
  }
}

function isThere(directory: PathText): boolean {
  return statSync(systemPath(directory), { throwIfNoEntry: false })?.isDirectory() ?? false
}

function isMarked(directory: PathText): boolean {
  const folder = Folder.open(realPathOrItself(directory), { guarded: false })
  try {
    return folder.statOf(MARK) !== undefined
  } finally {
    folder.close()
  }
}

/** Killed before the directory had its mark: it is empty, or another's. */
function removeUnmarked(directory: PathText): void {
  const folder = Folder.open(realPathOrItself(directory), { guarded: false })
  try {
    folder.removeWritten(MARK)
    removeName(directory)
  } catch (error) {
    if (!isErrno(error, 'ENOTEMPTY', 'ENOENT', 'ENOTDIR', 'EACCES')) {
      throw new FsError('EIO', messageOf(error), { cause: error })
    }
  } finally {
    folder.close()
  }
}

/** Removes a container, which may be gone already: no failure counts. */
function removeContainer([program = '', ...args]: readonly string[]): void {
  spawnSync(program, args, { stdio: 'ignore', timeout: KILL_TIMEOUT_MS, killSignal: 'SIGKILL' })
}
