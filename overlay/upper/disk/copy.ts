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

/** The original of a copy. */
export interface CopySource {
  /** Attributes for the copy, with the size of the copy. */
  readonly stat: Stat
  /** The original has more data than the copy gets. */
  readonly isPart?: boolean
  /** All attributes of the file except those of the overlay itself; ACLs as well. Names are escaped where needed. */
  readonly xattrs: readonly Attribute[]
  /** Attributes of this program, with full names. Left out where such a file cannot have them. */
  readonly own?: readonly Attribute[]
  /** Target of a symbolic link. */
  readonly target?: Uint8Array
  /** Data of a regular file. */
  readonly data?: DataSource
}

/** A finished copy in the work directory. */
export interface Copied {
  readonly name: Name
  /** Open for reading and writing; the caller closes it. */
  readonly fd?: number
}

/**
 * A copy of everything but the name, as a temporary of the work directory that the caller renames into place.
 *
 * The copy never gives more rights than the original. It begins with rights for the daemon only; then come data, owner,
 * attributes, mode, times. The owner comes before attributes and mode because chown(2) takes setuid and
 * `security.capability` away. ACLs come before the mode because without them the group bits of the mode are the rights
 * of the group, not the mask of the ACL. Data is on the disk before the rest is set, as with overlayfs
 * (fs/overlayfs/copy_up.c:ovl_copy_up_file).
 */
export class Copy {
  readonly name: Name
  /** Bytes of data for the copy; 0 unless it is a regular file. */
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
   * Makes the copy share all data of its original, where the file system can. The shared data is on the disk already,
   * and later changes come after it in the journal, so nothing is synced (fs/overlayfs/copy_up.c:ovl_copy_up_file).
   * @throws FsError EXDEV, EOPNOTSUPP, … where it cannot
   */
  share(fd: number): void {
    cloneFile(fd, this.#fd)
  }

  /**
   * Copies the data, with other threads where there are some.
   * @throws FsError ENOSPC, EDQUOT, EFBIG; EIO where the original is damaged
   */
  *fill(source: CopySource, background?: Background): Steps {
    if (this.length === 0) return
    const syncs = this.#policy.fsync !== 'volatile'
    const transfer = background?.transfer(this.#fd, syncs)
    try {
      yield* copyData(source, this.#fd, transfer)
    } finally {
      // The caller may close the descriptor next: no thread may write to it then.
      if (transfer !== undefined) yield* untilOver(transfer)
    }
    if (transfer?.error !== undefined) throw transfer.error
    if (!syncs) return
    if (transfer === undefined) syncFd(this.#fd, 'all')
    else yield* syncBy(transfer, 'all')
  }

  /**
   * Sets everything but the data, and closes the copy.
   * @returns the name in the work directory
   * @throws FsError of the kernel; the copy is removed then
   */
  finish(source: CopySource): Name {
    closeSync(this.complete(source))
    return this.name
  }

  /**
   * As `finish`, but leaves the copy open.
   * @returns the descriptor, which the caller closes: that of a regular file is for reading and writing
   */
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
      // fsync(2) takes only descriptors of these two types.
      if (policy.fsync === 'strict' && (isRegular(stat.mode) || isDirectory(stat.mode))) syncFd(fd, 'all')
    } catch (error) {
      this.discard()
      throw error
    }
    return fd
  }

  /** Closes and removes the copy. No thread may be at work on it. */
  discard(): void {
    closeSync(this.#fd)
    this.#work.discard(this.name)
  }
}

/** Copies everything at once. @returns as `Copy.finish`. @throws FsError as the parts; the copy is removed then */
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

/**
 * Without these attributes a copy would allow more, or do less, than its original
 * (fs/overlayfs/copy_up.c:ovl_must_copy_xattr).
 */
const NEEDED: readonly Name[] = ['system.posix_acl_access', 'system.posix_acl_default', 'security.capability']
/** The file system, or this type of file, cannot have such attributes. */
const NO_PLACE: readonly ErrnoCode[] = ['EOPNOTSUPP', 'EPERM']
/** Also: the host chooses labels itself, and some attributes are only for root. */
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
