import { closeSync, constants, existsSync, mkdirSync, openSync, rmdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { openIndex, probeUpper, readPolicy, removeAccessLists, WorkDirectory } from '../../overlay/index.ts'
import { codeOfErrno, containsPath, FsError, type PathText, systemPath } from '../base/index.ts'
import { listNames } from '../sys/directory-entries.ts'
import { syncFd } from '../sys/file-io.ts'
import { lockHolder, tryLock, unlockFd } from '../sys/lock.ts'
import { realPath } from '../sys/real-path.ts'
import type { ChangesPlace, UpperOptions, UpperSpec } from './spec.ts'

/** The two directories of a writable mount, absolute. */
export interface UpperPaths {
  readonly upper: PathText
  readonly work: PathText
  /** They may be made. */
  readonly makes: boolean
  /** They go away with the mount. */
  readonly temporary: boolean
}

/** Follows the name of an upper directory that stands alone. A dot would hide it from nobody who looks for it. */
const WORK_SUFFIX = '.atomfs-work'

/** @param temporary folder for changes that go away with the mount */
export function upperPaths(place: ChangesPlace, temporary: string): UpperPaths {
  switch (place.kind) {
    case 'persist':
      return { ...inFolder(place.folder), makes: true, temporary: false }
    case 'temporary':
      return { ...inFolder(temporary), makes: true, temporary: true }
    case 'pair':
      return { upper: place.upper, work: place.work, makes: false, temporary: false }
    case 'upper': {
      // Beside the directory itself, not beside a symbolic link to it: only there rename(2) works.
      const upper = realOrAsGiven(place.upper)
      const work = join(dirname(upper), `${basename(upper)}${WORK_SUFFIX}`)
      return { upper, work, makes: true, temporary: false }
    }
  }
}

function inFolder(folder: string): Pick<UpperPaths, 'upper' | 'work'> {
  return { upper: join(folder, 'persist'), work: join(folder, 'work') }
}

function realOrAsGiven(path: PathText): PathText {
  try {
    return realPath(path)
  } catch {
    return join(realpathOf(dirname(path)), basename(path))
  }
}

function realpathOf(path: PathText): PathText {
  try {
    return realPath(path)
  } catch {
    return path
  }
}

/** Below the work directory: what `WorkDirectory.markVolatile` makes. */
const VOLATILE_SIGN = 'work/incompat'

export interface OpenUpper {
  readonly spec: UpperSpec
  /** Writes everything in its file system to the disk, unless it need not last. @throws FsError EIO, ENOSPC */
  sync(): void
  /** Lets others have the directories. The descriptors stay open: a thread may still be in the middle of something. */
  unlock(): void
  /** As `unlock`, and removes what was made by opening: for a mount that failed. */
  undo(): void
}

/**
 * Opens the directories of a writable mount for it alone: made where they are missing, locked, compared with each
 * other, and cleaned of what a crash left.
 * @throws FsError EBUSY where another mount has one of them, with its process in the message; EXDEV, EINVAL, EROFS,
 * EACCES, ENOENT, ENOTDIR. Nothing stays open or made then.
 */
export function openUpper(paths: UpperPaths, options: UpperOptions): OpenUpper {
  const made: string[] = []
  const opened: number[] = []
  let marked = false
  const unlock = (): void => opened.forEach(unlockFd)
  const undo = (): void => {
    unlock()
    if (marked) rmSync(systemPath(join(paths.work, VOLATILE_SIGN)), { recursive: true, force: true })
    for (const path of made.splice(0).toReversed()) removeMade(path, paths)
  }
  const open = (path: string, what: string, mode: number): number => {
    if (paths.makes) made.push(...makeDirectories(path, what, mode))
    const fd = openDirectory(path, what)
    opened.push(fd)
    return fd
  }
  try {
    const upperFd = open(paths.upper, 'upper', 0o755)
    const workFd = open(paths.work, 'work', 0o700)
    refuseNesting(paths)
    lock(upperFd, `upper directory ${paths.upper}`, 'exclusive')
    lock(workFd, `work directory ${paths.work}`, 'exclusive')
    // One that is made here is what the image's root is, whatever the folder around it passes on.
    if (made.includes(paths.upper)) removeAccessLists(upperFd)
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
        fresh: made.includes(paths.upper),
        temporary: paths.temporary,
      }
      const sync = (): void => {
        if (policy.fsync !== 'volatile' && !paths.temporary) syncFd(upperFd, 'file system')
      }
      return { spec, sync, unlock, undo }
    } finally {
      work.close()
    }
  } catch (error) {
    undo()
    for (const fd of opened) closeSync(fd)
    throw named(error, paths)
  }
}

/**
 * Opens an upper directory to be seen only: nothing is made or changed, and others may see it too.
 * @param empty a directory that is empty and stays so
 * @throws FsError as `openUpper`
 */
export function viewUpper(paths: UpperPaths, empty: string): OpenUpper {
  const opened: number[] = []
  try {
    const upperFd = openDirectory(paths.upper, 'upper')
    opened.push(upperFd)
    lock(upperFd, `upper directory ${paths.upper}`, 'shared')
    const spec: UpperSpec = {
      label: paths.upper,
      upperFd,
      work: { indexFd: indexOf(paths.work) ?? openDirectory(empty, 'empty') },
      policy: readPolicy(upperFd),
      redirectDir: true,
      fresh: false,
      temporary: false,
    }
    const unlock = (): void => unlockFd(upperFd)
    return { spec, sync: () => undefined, unlock, undo: unlock }
  } catch (error) {
    for (const fd of opened) closeSync(fd)
    throw named(error, paths)
  }
}

/** The links of files with several names; those of a mount over host directories mean nothing later. */
function indexOf(work: string): number | undefined {
  if (!existsSync(systemPath(work))) return undefined
  const workFd = openDirectory(work, 'work')
  try {
    const fd = openIndex(workFd)
    if (fd === undefined || !listNames(fd).some((name) => name.includes('.passing'))) return fd
    closeSync(fd)
    return undefined
  } finally {
    closeSync(workFd)
  }
}

/** Of fuse-overlayfs, whose callers set it where device files make trouble (enroot). */
const NO_DEVICES = 'FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT'

function wishedOf({ owners, markers, fsync }: UpperOptions): Parameters<typeof probeUpper>[2] {
  return {
    fsync,
    avoidsDevices: process.env[NO_DEVICES] !== undefined,
    ...(owners === undefined ? {} : { owners }),
    ...(markers === undefined ? {} : { markers }),
  }
}

/** @returns what was missing, outermost first */
function makeDirectories(path: PathText, what: string, mode: number): readonly PathText[] {
  try {
    const missing: PathText[] = []
    for (let at = path; !existsSync(systemPath(at)) && at !== dirname(at); at = dirname(at))
      missing.unshift(at)
    // Nothing is said to be made here that somebody else has made meanwhile.
    return mkdirSync(systemPath(path), { recursive: true, mode }) === undefined ? [] : missing
  } catch (error) {
    throw hostError(error, `${what} directory ${path} cannot be made`)
  }
}

/** Folders above the two are left alone where somebody else uses them by now. Never throws. */
function removeMade(path: PathText, { upper, work }: UpperPaths): void {
  try {
    if (path === upper || path === work) rmSync(systemPath(path), { recursive: true, force: true })
    else rmdirSync(systemPath(path))
  } catch {
    // What cannot be removed does no harm: it is empty, or somebody else's.
  }
}

function openDirectory(path: PathText, what: string): number {
  try {
    return openSync(systemPath(path), constants.O_RDONLY | constants.O_DIRECTORY)
  } catch (error) {
    throw hostError(error, `${what} directory ${path} cannot be opened`)
  }
}

function hostError(error: unknown, what: string): FsError {
  const { errno, code } = error as NodeJS.ErrnoException
  return new FsError(codeOfErrno(-(errno ?? 0)), `${what}: ${code ?? String(error)}`, { cause: error })
}

/** @throws FsError EINVAL where one lies in the other, so that the mount would show its own work */
function refuseNesting({ upper, work }: UpperPaths): void {
  const [realUpper, realWork] = [realpathOf(upper), realpathOf(work)]
  if (containsPath(realUpper, realWork) || containsPath(realWork, realUpper)) {
    throw new FsError('EINVAL', `upper directory ${upper} and work directory ${work}: one contains the other`)
  }
}

/** Errors of file systems that have no such locks, or not for directories (NFS). */
const NO_LOCKS: readonly string[] = ['EBADF', 'ENOLCK', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS']

/** @throws HeldError */
function lock(fd: number, what: string, kind: 'shared' | 'exclusive'): void {
  try {
    if (!tryLock(fd, kind)) throw new HeldError(what, lockHolder(fd))
  } catch (error) {
    if (!(error instanceof FsError && NO_LOCKS.includes(error.code))) throw error
  }
}

/** A directory that another mount uses. */
export class HeldError extends FsError {
  readonly what: string
  /** Of the process that has it, where this pid namespace knows it. */
  readonly pid: number | undefined

  constructor(what: string, pid: number | undefined) {
    const holder = pid === undefined ? 'another program' : `process ${pid}`
    super('EBUSY', `${what} is in use by ${holder}`)
    this.what = what
    this.pid = pid
  }
}

/** The errors of probing say what is wrong, but not with which directory. */
function named(error: unknown, { upper }: UpperPaths): unknown {
  if (!(error instanceof FsError) || error instanceof HeldError || error.message.includes(upper)) return error
  return new FsError(error.code, `${upper}: ${error.message}`, { cause: error })
}
