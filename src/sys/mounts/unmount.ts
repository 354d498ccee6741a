import { ERRNO, FsError, isErrno, type PathText } from '../../base/index.ts'
import { cPath } from '../ffi/c-string.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { fusermountUnmount } from './fusermount.ts'

/** Flags of umount2(2). */
const MNT_DETACH = 2
const UMOUNT_NOFOLLOW = 8

const { EPERM } = ERRNO

const umount2 = libcFunction('int umount2(const char *target, int flags)')

/**
 * Unmounts the topmost mount at `target`: by umount2(2) where that is allowed, else by fusermount3.
 * @param lazy detach now, end when the last file is closed; succeeds on busy and on dead mounts
 * @throws FsError EBUSY while in use and not lazy, EINVAL where nothing is mounted
 */
export async function unmountFuse(target: PathText, lazy: boolean): Promise<void> {
  if (umount2(cPath(target), (lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW) === 0) return
  if (lastErrno() !== EPERM) throw systemError(`unmount ${target}`)
  try {
    await fusermountUnmount(target, lazy)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) {
      throw new FsError('EPERM', `unmount ${target}: not permitted, and ${error.message}`, { cause: error })
    }
    throw error
  }
}
