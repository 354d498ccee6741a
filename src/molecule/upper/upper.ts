import { closeSync, fstatSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import {
  probeUpper,
  readPolicy,
  removeAccessLists,
  type WishedPolicy,
  WorkDirectory,
} from '../../../overlay/index.ts'
import { FsError, type PathText } from '../../base/index.ts'
import { reopenDirectory } from '../../sys/files/at.ts'
import { duplicateDescriptor, replaceDescriptor } from '../../sys/files/descriptor.ts'
import { syncFd, syncFileSystemApart } from '../../sys/files/file-io.ts'
import { Folder } from '../../sys/files/folder.ts'
import { unlockFd } from '../../sys/files/lock.ts'
import { realPath, realPathOrItself } from '../../sys/files/real-path.ts'
import { forgetMade, type MadeFolder, nameOf, removeMade, walkTo } from '../../sys/files/walk.ts'
import { isHostRoot } from '../../sys/plain/namespaces.ts'
import { isTrustedOwner } from '../../sys/plain/owner.ts'
import type { DirectoryPlace, UpperOptions, UpperSpec } from '../spec.ts'
import { HeldError, lockDirectory } from './lock.ts'
import { type NamedDirectory, refuseOverlap } from './overlap.ts'

/** The two directories of a writable mount, absolute. */
export interface UpperPaths {
  readonly upper: PathText
  readonly work: PathText
  /** The upper as it was named, where the work directory lies beside what that leads to. */
  readonly named?: PathText
  /** They may be made. */
  readonly makes: boolean
  /** They go away with the mount. */
  readonly temporary: boolean
}

/** Follows the name of an upper directory that stands alone. Visible on purpose: hiding it does not help. */
const WORK_SUFFIX = '.atomfs-work'

/**
 * @param temporary folder for changes that go away with the mount
 * @throws FsError EINVAL for a pair without a work directory, which can only be shown
 */
export function upperPaths(place: DirectoryPlace, temporary: string): UpperPaths {
  switch (place.kind) {
    case 'persist':
      return { ...inFolder(place.folder), makes: true, temporary: false }
    case 'temporary':
      return { ...inFolder(temporary), makes: true, temporary: true }
    case 'pair':
      if (place.work === undefined) {
        throw new FsError('EINVAL', `upper directory ${place.upper}: changes need a work directory`)
      }
      return { upper: place.upper, work: place.work, makes: false, temporary: false }
    case 'upper': {
      // Beside the directory itself, not beside a symbolic link to it: only there rename(2) works.
      const upper = realOrAsGiven(place.upper)
      const work = join(dirname(upper), `${basename(upper)}${WORK_SUFFIX}`)
      return { upper, work, named: place.upper, makes: true, temporary: false }
    }
  }
}

/** What of them is needed to show an upper directory. */
export type ShownPaths = Pick<UpperPaths, 'upper' | 'named'>

/** @param temporary as for `upperPaths` */
export function shownPaths(place: DirectoryPlace, temporary: PathText): ShownPaths {
  return place.kind === 'pair' ? { upper: place.upper } : upperPaths(place, temporary)
}

function inFolder(folder: PathText): { readonly upper: PathText; readonly work: PathText } {
  return { upper: join(folder, 'persist'), work: join(folder, 'work') }
}

function realOrAsGiven(path: PathText): PathText {
  try {
    return realPath(path)
  } catch {
    return join(realPathOrItself(dirname(path)), basename(path))
  }
}

/** Below the work directory: what `WorkDirectory.markVolatile` makes. */
const VOLATILE_SIGN = ['work', 'incompat'] as const

export interface OpenUpper {
  readonly spec: UpperSpec
  /** Lets others have the directories. The descriptors stay open: a thread may still be in the middle of something. */
  unlock(): void
  /** As `unlock`, and removes what was made by opening: for a mount that failed. */
  undo(): void
  /** Lets their file system be unmounted: from now on the numbers of the descriptors mean the open file of `standIn`. */
  letGo(standIn: number): void
  /** Closes the descriptors, in a process that goes on. No thread may use them any more, nor any other function of this. */
  close(): void
}

/** Writes everything in the file system of an upper to the disk, unless it need not last. @throws FsError EIO, ENOSPC */
export function syncUpper(upper: UpperSpec): void {
  if (mustLast(upper)) syncFd(upper.upperFd, 'file system')
}

/** As `syncUpper`, in a thread that nobody waits for: the disk may not answer. */
export async function syncUpperApart(upper: UpperSpec): Promise<void> {
  if (mustLast(upper)) await syncFileSystemApart(upper.upperFd)
}

function mustLast({ work, policy, temporary }: UpperSpec): boolean {
  return work !== undefined && policy.fsync !== 'volatile' && !temporary
}

/**
 * Opens the directories of a writable mount for it alone: made where they are missing, locked, compared with each
 * other, and cleaned of what a crash left. Each is opened step by step (`walkTo`), and a work directory is taken only
 * where it is ours: it is emptied, and what is made in it is believed later.
 * @param lowers directories of the host below it, which must be others
 * @param within the folder that holds temporary changes; their names are not looked for anywhere else
 * @throws FsError EBUSY where another mount has one of them, with its process in the message; EPERM where a stranger
 * could put something else in its place; EXDEV, EINVAL, EROFS, EACCES, ENOENT, ENOTDIR. Nothing stays open or made then.
 */
export function openUpper(
  paths: UpperPaths,
  options: UpperOptions,
  lowers: readonly NamedDirectory[],
  within?: Folder,
): OpenUpper {
  const opened: OpenDirectory[] = []
  let marked = false
  const unlock = (): void => {
    for (const { fd } of opened) unlockFd(fd)
  }
  const undo = (): void => {
    unlock()
    if (marked) removeSign(opened)
    for (const directory of opened.toReversed()) removeAgain(directory)
    for (const [i, { fd, path }] of opened.entries()) opened[i] = { fd, path, made: [] }
  }
  const letGo = (standIn: number): void => {
    for (const { fd, made } of opened) {
      for (const one of [fd, ...made.map(({ parent }) => parent)]) replaceDescriptor(standIn, one)
    }
  }
  const close = (): void => {
    for (const { fd, made } of opened) {
      closeSync(fd)
      forgetMade(made)
    }
  }
  const open = (path: PathText, what: string, mode: number): OpenDirectory => {
    const directory = openDirectory(path, what, paths.makes ? mode : undefined, within)
    opened.push(directory)
    return directory
  }
  try {
    const upper = open(paths.named ?? paths.upper, 'upper', 0o755)
    const workPath = paths.named === undefined ? paths.work : `${upper.path}${WORK_SUFFIX}`
    const { fd: workFd } = open(workPath, 'work', 0o700)
    const upperFd = upper.fd
    assertOurs(workFd, workPath, isPair(paths) ? upperFd : undefined)
    refuseOverlap([asNamed(paths, upperFd), { what: `work directory ${workPath}`, fd: workFd }], lowers)
    lockDirectory(upperFd, `upper directory ${paths.upper}`, 'exclusive')
    lockDirectory(workFd, `work directory ${paths.work}`, 'exclusive')
    const fresh = upper.made.length > 0
    // A new upper gets the attributes of the image's root, not those that the folder around it passes on.
    if (fresh) removeAccessLists(upperFd)
    const work = new WorkDirectory(workFd, paths.work)
    try {
      work.clean()
      work.passOnLike(upperFd)
      const policy = probeUpper(work, upperFd, wishedOf(options))
      marked = policy.fsync === 'volatile' && options.volatileSign && !paths.temporary
      if (marked) work.markVolatile()
      const spec: UpperSpec = {
        label: paths.upper,
        upperFd,
        work: { label: paths.work, fd: workFd },
        policy,
        redirectDir: options.redirectDir,
        size: options.size,
        fresh,
        temporary: paths.temporary,
      }
      return { spec, unlock, undo, letGo, close }
    } finally {
      work.close()
    }
  } catch (error) {
    undo()
    for (const { fd } of opened) closeSync(fd)
    throw named(error, paths)
  }
}

/** The runtime that names both directories keeps them where only it can get, with the owner of the container's root. */
function isPair({ makes }: UpperPaths): boolean {
  return !makes
}

/**
 * @param like a directory whose owner is as good as we are
 * @throws FsError EPERM where a work directory is a stranger's, who could have prepared what is removed or believed
 */
function assertOurs(workFd: number, path: PathText, like: number | undefined): void {
  const { uid } = fstatSync(workFd)
  if (isTrustedOwner(uid) || (like !== undefined && fstatSync(like).uid === uid)) return
  throw new FsError(
    'EPERM',
    `work directory ${path} belongs to user ${uid}, who could have prepared what is in it: remove it, or name another place`,
  )
}

function removeSign(opened: readonly OpenDirectory[]): void {
  const [temporary, sign] = VOLATILE_SIGN
  const workFd = opened[1]?.fd
  if (workFd === undefined) return
  const folder = new Folder(workFd, '').find(temporary)
  folder?.remove(sign)
  folder?.close()
}

/**
 * Opens an upper directory to be seen only: nothing is made or changed, and others may see it too.
 * @param lowers as for `openUpper`
 * @throws FsError as `openUpper`
 */
export function viewUpper(paths: ShownPaths, lowers: readonly NamedDirectory[]): OpenUpper {
  const opened: number[] = []
  try {
    const upperFd = openDirectory(paths.named ?? paths.upper, 'upper').fd
    opened.push(upperFd)
    refuseOverlap([asNamed(paths, upperFd)], lowers)
    lockDirectory(upperFd, `upper directory ${paths.upper}`, 'shared')
    const spec: UpperSpec = {
      label: paths.upper,
      upperFd,
      policy: readPolicy(upperFd),
      redirectDir: true,
      fresh: false,
      temporary: false,
    }
    const unlock = (): void => unlockFd(upperFd)
    const letGo = (standIn: number): void => replaceDescriptor(standIn, upperFd)
    return { spec, unlock, undo: unlock, letGo, close: () => closeSync(upperFd) }
  } catch (error) {
    for (const fd of opened) closeSync(fd)
    throw named(error, paths)
  }
}

/** Of fuse-overlayfs, whose callers set it where device files make trouble (enroot). */
const NO_DEVICES = 'FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT'

function wishedOf({ recordOwners, markers, fsync }: UpperOptions): WishedPolicy {
  return { recordOwners, markers, fsync, avoidsDevices: process.env[NO_DEVICES] !== undefined }
}

/** A directory that is open for reading. */
interface OpenDirectory {
  readonly fd: number
  /** Without symbolic links. */
  readonly path: PathText
  readonly made: readonly MadeFolder[]
}

/**
 * @param make mode of what is made where it is missing; nothing is made without it
 * @param within a folder that stands for the beginning of the path
 */
function openDirectory(path: PathText, what: string, make?: number, within?: Folder): OpenDirectory {
  try {
    const walked = within === undefined ? walkFromRoot(path, make) : walkWithin(within, path, make)
    try {
      return { fd: reopenDirectory(walked.fd), path: walked.path, made: walked.made }
    } catch (error) {
      removeMade(walked.made)
      throw error
    } finally {
      closeSync(walked.fd)
    }
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    const isExplained = error.code === 'EPERM' || error.message.includes('cannot be made')
    throw new FsError(
      error.code,
      `${what} directory ${path} cannot be opened: ${isExplained ? error.message : error.code}`,
      { cause: error },
    )
  }
}

function walkFromRoot(path: PathText, make: number | undefined): OpenDirectory {
  const guarded = isHostRoot()
  return walkTo(path, make === undefined ? { guarded } : { make, guarded })
}

/** Other users cannot write below this folder, so the walk need not be guarded. */
function walkWithin(within: Folder, path: PathText, make: number | undefined): OpenDirectory {
  const folder = within.make(basename(path), make ?? 0o700)
  return {
    fd: folder.fd,
    path,
    made: [{ parent: duplicateDescriptor(within.fd), name: nameOf(basename(path)) }],
  }
}

/** Removes the directories that were made, by descriptors. Removes only empty ones, so data of others stay. Never throws. */
function removeAgain({ fd, path, made }: OpenDirectory): void {
  try {
    const folder = new Folder(fd, path)
    if (made.length > 0) for (const name of folder.names()) folder.remove(name)
  } catch {
    // Another process uses it by now: it may stay.
  }
  removeMade(made)
}

function asNamed({ upper }: ShownPaths, fd: number): NamedDirectory {
  return { what: `upper directory ${upper}`, fd }
}

/** The errors of probing say what is wrong, but not with which directory. */
function named(error: unknown, { upper, work = upper }: ShownPaths & { readonly work?: PathText }): unknown {
  if (!(error instanceof FsError) || error instanceof HeldError) return error
  if (error.message.includes(upper) || error.message.includes(work)) return error
  return new FsError(error.code, `${upper}: ${error.message}`, { cause: error })
}
