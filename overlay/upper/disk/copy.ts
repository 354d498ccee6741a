import { closeSync } from 'node:fs'
import {
  type Background,
  type ErrnoCode,
  FsError,
  ignoring,
  isDirectory,
  isRegular,
  isSymlink,
  type Name,
  omitUndefined,
  PERMISSIONS,
  runSteps,
  S_IFCHR,
  S_IFMT,
  type Stat,
  type Steps,
  syncBy,
  untilOver,
} from '../../../src/base/index.ts'
import { chmodFd, chownFd, setTimesFd } from '../../../src/sys/files/fd-attributes.ts'
import { cloneFile, syncFd } from '../../../src/sys/files/file-io.ts'
import { setxattrFd } from '../../../src/sys/files/xattr.ts'
import { writeOwner } from '../../stored/owner-record.ts'
import type { UpperPolicy } from '../../stored/policy.ts'
import { nameInUpper } from '../../stored/upper-xattrs.ts'
import { copyData, type DataSource } from './copy-data.ts'
import { makeObject } from './make-object.ts'
import type { WorkDirectory } from './work-directory.ts'

export type Attribute = readonly [name: Name, value: Uint8Array]

/** What is copied. */
export interface CopySource {
  /** Its size is that of the copy. */
  readonly stat: Stat
  /** The source has more data than are copied. */
  readonly isPart?: boolean
  /** All attributes of the file but those of the overlay itself; access lists too. Names escaped, if they must be. */
  readonly xattrs: readonly Attribute[]
  /** Attributes of our own, with full names. They are left out where such a file cannot have them. */
  readonly own?: readonly Attribute[]
  /** Of a symbolic link. */
  readonly target?: Uint8Array
  /** Of a regular file. */
  readonly data?: DataSource
}

/** A finished copy in the work directory. */
export interface Copied {
  readonly name: Name
  /** For reading and writing; whoever has it closes it. */
  readonly fd?: number
}

/**
 * A copy of everything but the name, as a temporary of the work directory that the caller renames into place. At no
 * moment does it give more rights than the source: it begins with rights for the daemon alone; then come data, owner,
 * attributes, mode, times. The owner stands before attributes and mode because chown(2) takes setuid and
 * `security.capability` away; access lists before the mode, because until they are there the mode of their group is
 * that of the whole list. Data is on the disk before anything else is given, as overlayfs has it
 * (fs/overlayfs/copy_up.c:ovl_copy_up_file).
 */
export class Copy {
  readonly name: Name
  /** Bytes of data that it has; 0 unless a regular file. */
  readonly length: number
  readonly #fd: number
  readonly #work: WorkDirectory
  readonly #policy: UpperPolicy

  /** Makes an empty file. @throws FsError ENOSPC, EDQUOT, EROFS, EPERM */
  constructor({ stat, target }: CopySource, work: WorkDirectory, policy: UpperPolicy) {
    const { mode, rdev, size } = stat
    if ((mode & S_IFMT) === S_IFCHR && rdev === 0 && policy.owners === 'real') {
      throw new FsError('EPERM', 'a device 0:0 in the upper directory would be a whiteout')
    }
    this.name = work.temporaryName()
    this.length = isRegular(mode) ? size : 0
    this.#work = work
    this.#policy = policy
    this.#fd = makeObject(work.fd, this.name, { mode, rdev, ...omitUndefined({ target }) }, policy)
  }

  /**
   * Lets it share all of the data of its source, where the file system can. The data are on the disk then, and whatever
   * comes after it in the journal, so nothing is synced (fs/overlayfs/copy_up.c:ovl_copy_up_file).
   * @throws FsError EXDEV, EOPNOTSUPP, … where it cannot
   */
  share(fd: number): void {
    cloneFile(fd, this.#fd)
  }

  /**
   * Gives it the data, with the help of other threads where there are some.
   * @throws FsError ENOSPC, EDQUOT, EFBIG; EIO where the source is damaged
   */
  *fill(source: CopySource, background?: Background): Steps {
    if (this.length === 0) return
    const syncs = this.#policy.fsync !== 'volatile'
    const transfer = background?.transfer(this.#fd, syncs)
    try {
      yield* copyData(source, this.#fd, transfer)
    } finally {
      // Nobody may write to a descriptor that was closed.
      if (transfer !== undefined) yield* untilOver(transfer)
    }
    if (transfer?.error !== undefined) throw transfer.error
    if (!syncs) return
    if (transfer === undefined) syncFd(this.#fd, 'all')
    else yield* syncBy(transfer, 'all')
  }

  /**
   * Gives it the rest, and closes it.
   * @returns the name in the work directory
   * @throws FsError what the kernel says; nothing is left then
   */
  finish(source: CopySource): Name {
    closeSync(this.complete(source))
    return this.name
  }

  /** As `finish`. @returns the descriptor, which the caller closes: that of a regular file is for reading and writing */
  complete({ stat, xattrs, own }: CopySource): number {
    const policy = this.#policy
    const fd = this.#fd
    try {
      if (policy.owners === 'override') writeOwner(fd, stat, policy)
      else chownFd(fd, stat.uid, stat.gid)
      for (const [name, value] of xattrs) copyAttribute(fd, name, value, policy)
      for (const [name, value] of own ?? []) setUnless(NO_PLACE, fd, name, value)
      if (policy.owners === 'real' && !isSymlink(stat.mode)) chmodFd(fd, stat.mode & PERMISSIONS)
      setTimesFd(
        fd,
        { seconds: stat.atime, nanoseconds: stat.atimeNsec },
        { seconds: stat.mtime, nanoseconds: stat.mtimeNsec },
      )
      // Other types than these two cannot be synced by themselves.
      if (policy.fsync === 'strict' && (isRegular(stat.mode) || isDirectory(stat.mode))) syncFd(fd, 'all')
    } catch (error) {
      this.discard()
      throw error
    }
    return fd
  }

  /** Closes and removes it. No thread may be at work on it. */
  discard(): void {
    closeSync(this.#fd)
    this.#work.discard(this.name)
  }
}

/** Copies everything at once. @returns as `Copy.finish`. @throws FsError as the parts; nothing is left then */
export function makeCopy(source: CopySource, work: WorkDirectory, policy: UpperPolicy): Name {
  const copy = new Copy(source, work, policy)
  try {
    runSteps(copy.fill(source))
  } catch (error) {
    copy.discard()
    throw error
  }
  return copy.finish(source)
}

/** Without these a copy would allow more, or do less, than the source (fs/overlayfs/copy_up.c:ovl_must_copy_xattr). */
const NEEDED: readonly Name[] = ['system.posix_acl_access', 'system.posix_acl_default', 'security.capability']
/** The file system, or this type of file, has no such attributes. */
const NO_PLACE: readonly ErrnoCode[] = ['EOPNOTSUPP', 'EPERM']
/** Or the host decides otherwise on a label, and on what is for root alone. */
const NOT_OURS: readonly ErrnoCode[] = [...NO_PLACE, 'EACCES', 'EINVAL']

function copyAttribute(fd: number, name: Name, value: Uint8Array, policy: UpperPolicy): void {
  const stored = nameInUpper(name, policy)
  if (stored === undefined) return
  if (NEEDED.includes(name)) setxattrFd(fd, stored, value, 'either')
  else setUnless(name.startsWith('user.') ? NO_PLACE : NOT_OURS, fd, stored, value)
}

function setUnless(accepted: readonly ErrnoCode[], fd: number, name: Name, value: Uint8Array): void {
  ignoring(accepted, () => setxattrFd(fd, name, value, 'either'))
}
