import { closeSync, constants } from 'node:fs'
import { FsError, isDirectory, isRegular, isSymlink, type Name, S_IFMT } from '../../../src/base/index.ts'
import { mkdirAt, mknodAt, O_PATH, openAt, rmdirAt, symlinkAt, unlinkAt } from '../../../src/sys/files/at.ts'
import { pwrite } from '../../../src/sys/files/file-io.ts'
import type { UpperPolicy } from '../../stored/policy.ts'

/** A file to be made. */
export interface NewObject {
  /** Type bits; `writeOwner` sets the permissions later. */
  readonly mode: number
  /** As the kernel encodes it in 32 bits; 0 unless a device. */
  readonly rdev: number
  /** Target of a symbolic link. */
  readonly target?: Uint8Array
}

const { O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR } = constants

/**
 * Makes an empty object with rights only for its owner, which is the daemon. Where owners are written down, everything
 * but directories is a regular file, since other types cannot have `user.` attributes; the target of a link is then its
 * content.
 * @returns a descriptor that the caller closes: of a regular file for reading and writing, of a directory for reading,
 *   of others O_PATH
 * @throws FsError EEXIST, ENOSPC, EDQUOT, EROFS; EPERM for a device without the right to make one
 */
export function makeObject(dir: number, name: Name, what: NewObject, policy: UpperPolicy): number {
  if (isDirectory(what.mode)) {
    mkdirAt(dir, name, 0o700)
    return openMade(dir, name, O_RDONLY | O_DIRECTORY, rmdirAt)
  }
  if (isRegular(what.mode) || policy.owners === 'override') {
    const fd = openAt(dir, name, O_CREAT | O_EXCL | O_RDWR, 0o600)
    if (isSymlink(what.mode)) writeTarget(fd, dir, name, targetOf(what, name))
    return fd
  }
  if (isSymlink(what.mode)) symlinkAt(targetOf(what, name), dir, name)
  else mknodAt(dir, name, what.mode & S_IFMT, what.rdev)
  return openMade(dir, name, O_PATH, unlinkAt)
}

function targetOf({ target }: NewObject, name: Name): Uint8Array {
  if (target !== undefined && target.length > 0) return target
  throw new FsError('EINVAL', `symbolic link ${JSON.stringify(name)} without a target`)
}

function writeTarget(fd: number, dir: number, name: Name, target: Uint8Array): void {
  try {
    // pwrite is short only where the disk is full: the next call throws.
    for (let done = 0; done < target.length; ) done += pwrite(fd, done, target.subarray(done))
  } catch (error) {
    closeSync(fd)
    unlinkAt(dir, name)
    throw error
  }
}

function openMade(dir: number, name: Name, flags: number, remove: (dir: number, name: Name) => void): number {
  try {
    return openAt(dir, name, flags)
  } catch (error) {
    remove(dir, name)
    throw error
  }
}
