import { FsError } from '../../src/base/index.ts'
import { setModificationTimeFd } from '../../src/sys/fd-attributes.ts'
import { statFd } from '../../src/sys/statx.ts'

/**
 * Who sets the mtime of a regular file when its data change: the host, or a client that keeps it
 * (`WritableFileSystem.clientKeepsTimes`).
 *
 * With its write-back cache the kernel notes the time of write(2), fallocate(2) and their like, of writes with O_DIRECT
 * too (fs/inode.c:file_update_time), and tells it by SETATTR (fs/fuse/dir.c:fuse_flush_times), often before the data
 * arrive; and not at all when two calls meet within one tick of its clock. A time of the host's would stay until the
 * kernel forgets the file, meets it again, and shows another mtime than before.
 */
export class ModificationTimes {
  #left = false

  /** From now on changes of data leave mtime as it is. */
  leave(): void {
    this.#left = true
  }

  /** Calls what changes data or length of an open file. @param fd not opened with O_PATH */
  during<T>(fd: number, change: (fd: number) => T): T {
    if (!this.#left) return change(fd)
    const { mtime, mtimeNsec } = statFd(fd)
    try {
      return change(fd)
    } finally {
      // After an error as well: the host sets the time before it looks for room.
      putBack(fd, mtime, mtimeNsec)
    }
  }
}

/** The data count more: where the host refuses this, it refuses what the kernel tells as well, and that is answered. */
function putBack(fd: number, seconds: number, nanoseconds: number): void {
  try {
    setModificationTimeFd(fd, { seconds, nanoseconds })
  } catch (error) {
    if (!(error instanceof FsError)) throw error
  }
}
