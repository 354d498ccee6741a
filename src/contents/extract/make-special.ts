import { closeSync } from 'node:fs'
import { FsError, isErrno, type Name, S_IFBLK, S_IFCHR, S_IFMT, type Stat } from '../../base/index.ts'
import { mknodAt, O_PATH, openAt, symlinkAt, unlinkAt } from '../../sys/files/at.ts'
import { pwrite } from '../../sys/files/file-io.ts'
import { type HostStat, statFd } from '../../sys/files/statx.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import { type FileAttributes, giveAttributes } from './attributes.ts'
import type { Made, Manner } from './jobs.ts'
import { makeFile } from './make-file.ts'

/** A symbolic link, device, fifo or socket that is to be made. */
export interface NewSpecial {
  /** Descriptor of its directory. */
  readonly folder: number
  readonly name: Name
  readonly attributes: FileAttributes
  /** Of a symbolic link. */
  readonly target?: Uint8Array
}

/**
 * Makes anything but a regular file and a directory. Where owners are written down, it becomes a regular file with that
 * record, because other types cannot have attributes of users; the target of a link is its content.
 * @returns undefined for a device that this user may not make
 * @throws FsError EEXIST, EISDIR for the name; EPERM, ENOSPC, … . Nothing is left then
 */
export function makeSpecial(what: NewSpecial, manner: Manner): Made | undefined {
  if (manner.owners === 'override') return makeRecorded(what, manner)
  const { folder, name } = what
  if (!makeName(what, manner)) return undefined
  try {
    // What holds the name now may be another's: only what this user has just made is changed.
    const fd = openAt(folder, name, O_PATH)
    try {
      const stat = statFd(fd)
      if (!isOurs(stat, what.attributes.stat)) throw new FsError('EEXIST', 'was replaced by somebody else')
      return { left: giveAttributes(fd, what.attributes, manner.owners), dev: stat.dev, inode: stat.inode }
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (!isErrno(error, 'EEXIST', 'ENOENT')) unlinkAt(folder, name)
    throw error
  }
}

function makeRecorded({ folder, name, attributes, target }: NewSpecial, manner: Manner): Made {
  const stat: Stat = { ...attributes.stat, size: target?.length ?? 0 }
  return makeFile({ folder, name, attributes: { ...attributes, stat } }, manner, (fd) =>
    target === undefined ? 0 : pwrite(fd, 0, target),
  )
}

/** @returns false for a device that this user may not make */
function makeName(what: NewSpecial, { replaces }: Manner): boolean {
  const { folder, name, attributes, target } = what
  const { mode, rdev } = attributes.stat
  const make = (): void => {
    if (target !== undefined) symlinkAt(target, folder, name)
    else mknodAt(folder, name, mode & S_IFMT, rdev)
  }
  try {
    try {
      make()
    } catch (error) {
      if (!replaces || !isErrno(error, 'EEXIST')) throw error
      unlinkAt(folder, name)
      make()
    }
    return true
  } catch (error) {
    const isDevice = (mode & S_IFMT) === S_IFBLK || (mode & S_IFMT) === S_IFCHR
    if (isDevice && isErrno(error, 'EPERM')) return false
    if (isErrno(error, 'EISDIR')) throw new FsError('EISDIR', 'a directory has its name')
    throw error
  }
}

function isOurs({ mode, uid, nlink }: HostStat, wanted: Stat): boolean {
  const sameType = (mode & S_IFMT) === (wanted.mode & S_IFMT)
  return sameType && uid === effectiveUid() && nlink === 1
}
