import { readlinkSync, type Stats, stat, statfs } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { codeOf, containsPath, decodePath, FsError, type PathText, systemPath } from '../../base/index.ts'
import { realPath } from '../../sys/files/real-path.ts'
import { MOUNT_TYPE, type MountInfo, readMountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { unmountFuse } from '../../sys/mounts/unmount.ts'
import { descriptorOf } from '../../sys/plain/proc.ts'
import { withTimeout } from '../../sys/plain/promises.ts'

/** A target may lie on a network or FUSE file system that does not answer. */
const STAT_TIMEOUT_MS = 10_000

/** As many as the kernel follows (include/linux/namei.h:MAXSYMLINKS). */
const MAX_SYMLINKS = 40

/**
 * The target as mount tables show it: absolute, without symbolic links. What is mounted there is not touched,
 * since the server of a mount may be dead or hang.
 * @throws FsError ENOENT, ENOTDIR, EACCES or ELOOP for the folder that holds the target
 */
export function canonicalTarget(target: PathText, mounts: readonly MountInfo[]): PathText {
  let path = target
  for (let followed = 0; followed <= MAX_SYMLINKS; followed++) {
    // realpath resolves `..` after symbolic links, as the kernel does; only the last name is left out.
    const isPlainName = !['', '.', '..'].includes(basename(path))
    const canonical = isPlainName ? join(realParent(path), basename(path)) : realParent(`${path}/x`)
    if (topMountAt(mounts, canonical) !== undefined) return canonical
    try {
      const link = decodePath(readlinkSync(systemPath(canonical), { encoding: 'buffer' }))
      path = link.startsWith('/') ? link : `${dirname(canonical)}/${link}`
    } catch {
      return canonical
    }
  }
  throw new FsError('ELOOP', `${target}: too many symbolic links`)
}

function realParent(path: PathText): PathText {
  const parent = dirname(path)
  try {
    return realPath(parent)
  } catch (error) {
    throw targetError(parent, error)
  }
}

/**
 * Makes sure that the target can be mounted on. A dead mount of ours is detached; a living one is refused,
 * because its runtime entry has the place. Mounts of other types are covered, as mount(8) does.
 * @param imagePaths files and folders of the image
 * @throws FsError with one clear line
 */
export async function prepareTarget(target: PathText, imagePaths: readonly PathText[]): Promise<void> {
  if (descriptorOf(target) !== undefined) return
  for (;;) {
    const top = topMountAt(readMountInfo(), target)
    if (top?.type === MOUNT_TYPE) {
      if (!(await isDead(target))) {
        throw new FsError(
          'EBUSY',
          `${target} is mounted already (${top.source}): unmount it first with 'atomfs-fuse umount ${target}'`,
        )
      }
      await unmountFuse(target, true)
    } else {
      const failure = await statFailure(target)
      if (failure !== undefined) throw failure
      break
    }
  }
  refuseToCover(target, imagePaths)
}

/**
 * Whether the server of a FUSE mount is gone. Attributes and names are answered from the kernel's caches for
 * ever; statfs(2) is not cached and reaches for the server.
 */
export async function isDead(mountPoint: PathText): Promise<boolean> {
  try {
    await answerOf(statfs, mountPoint)
    return false
  } catch (error) {
    const code = codeOf(error)
    return code === 'ENOTCONN' || code === 'ECONNABORTED'
  }
}

type Ask<T> = (path: Buffer | string, done: (error: Error | null, answer: T) => void) => void

/**
 * What a function of `node:fs` says of a path, unless that takes too long. Loading `node:fs/promises` takes 1 ms, for which
 * every mount would wait. @throws Error of the call; FsError ETIMEDOUT
 */
function answerOf<T>(ask: Ask<T>, path: PathText): Promise<T> {
  const answer = new Promise<T>((resolve, reject) => {
    ask(systemPath(path), (error, value) => (error === null ? resolve(value) : reject(error)))
  })
  return withTimeout(answer, STAT_TIMEOUT_MS, `${path} does not answer`)
}

async function statFailure(target: PathText): Promise<FsError | undefined> {
  try {
    const found = await answerOf<Stats>(stat, target)
    return found.isDirectory() ? undefined : new FsError('ENOTDIR', `target ${target} is not a directory`)
  } catch (error) {
    return error instanceof FsError ? error : targetError(target, error)
  }
}

function targetError(path: PathText, error: unknown): FsError {
  const code = codeOf(error)
  const options = { cause: error }
  switch (code) {
    case 'ENOENT':
      return new FsError('ENOENT', `target ${path} does not exist`, options)
    case 'ENOTDIR':
      return new FsError('ENOTDIR', `target ${path} is not a directory`, options)
    case 'EACCES':
      return new FsError('EACCES', `target ${path}: permission denied`, options)
    case 'ENOTCONN':
      return new FsError(
        'ENOTCONN',
        `target ${path} is a mount whose server is dead: detach it with 'umount -l ${path}'`,
        options,
      )
    case 'ELOOP':
      return new FsError('ELOOP', `target ${path}: too many symbolic links`, options)
    default:
      return new FsError('EIO', `target ${path}: ${code ?? String(error)}`, options)
  }
}

/**
 * A target in a directory of the mount would be read through itself by its own server, which hangs for ever.
 * @throws FsError EINVAL
 */
export function refuseInside(target: PathText, directories: readonly PathText[]): void {
  if (descriptorOf(target) !== undefined) return
  for (const path of directories) {
    const real = realOrUndefined(path)
    // Not the directory itself: the server has it open from before the mount.
    if (real !== undefined && real !== target && containsPath(real, target)) {
      throw new FsError(
        'EINVAL',
        `target ${target} lies in ${real}, which is part of the mount: choose another one`,
      )
    }
  }
}

/** Refuses a mount over directories that other processes may open later by their paths. @throws FsError EINVAL */
export function refuseOver(target: PathText, directories: readonly PathText[]): void {
  if (descriptorOf(target) === undefined)
    refuseToCover(target, directories, 'its own upper or work directory')
}

function realOrUndefined(path: PathText): PathText | undefined {
  try {
    return realPath(path)
  } catch {
    return undefined
  }
}

/**
 * A process that later opens a path of the image would read the image through the mount itself, and such a reader hangs
 * and cannot be killed (fuse-overlayfs had that). Only targets that contain the image cause it.
 */
export function refuseToCover(
  target: PathText,
  imagePaths: readonly PathText[],
  what = 'the image itself',
): void {
  for (const path of imagePaths) {
    // Blobs may be links to elsewhere: distributions share them between images.
    const real = realOrUndefined(path)
    if (real !== undefined && containsPath(target, real)) {
      throw new FsError('EINVAL', `target ${target} contains ${what} (${real}): choose another one`)
    }
  }
}
