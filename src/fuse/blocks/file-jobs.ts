import { codeOfErrno, ERRNO, errnoOf, FsError } from '../../base/index.ts'
import { EINTR } from '../../sys/files/device-io.ts'
import { beginWriteOut, syncFd } from '../../sys/files/file-io.ts'
import type { JobTable } from './jobs.ts'
import type { SharedBuffers } from './shared-buffers.ts'
import { SlotVector } from './slot-vector.ts'

/** Jobs on files of the host, for a data worker. */
export class FileJobs {
  readonly #jobs: JobTable
  readonly #vector: SlotVector

  constructor(shared: SharedBuffers, jobs: JobTable) {
    this.#jobs = jobs
    this.#vector = new SlotVector(shared)
  }

  /** @param segments READY and pinned, or holes. @returns 0, or the errno it failed with */
  run(job: number, segments: Int32Array): number {
    try {
      this.#run(job, segments)
      return 0
    } catch (error) {
      if (error instanceof FsError) return errnoOf(error)
      throw error
    }
  }

  #run(job: number, segments: Int32Array): void {
    const fd = this.#jobs.fd(job)
    const kind = this.#jobs.kind(job)
    switch (kind) {
      case 'all':
      case 'data':
      case 'file system':
        syncFd(fd, kind)
        return
      case 'write':
      case 'write out': {
        const offset = this.#jobs.offset(job)
        const length = this.#write(fd, offset, segments)
        if (kind === 'write out') beginWriteOut(fd, offset, length)
        return
      }
      case 'reply':
      case 'fetch':
        throw new RangeError(`job ${job}: a ${kind} has no file`)
    }
  }

  /** @returns bytes written: all of the segments. @throws FsError ENOSPC, EDQUOT, EFBIG, EIO */
  #write(fd: number, offset: number, segments: Int32Array): number {
    let done = 0
    for (;;) {
      this.#vector.writer.begin()
      const left = this.#vector.add(segments, done)
      if (left === 0) return done
      const written = this.#vector.writer.writeAt(fd, offset + done)
      if (written > 0) done += written
      else if (written !== -EINTR) {
        const errno = written === 0 ? ERRNO.EIO : -written
        throw new FsError(codeOfErrno(errno), `write fd ${fd} at ${offset + done}: errno ${errno}`)
      }
    }
  }
}
