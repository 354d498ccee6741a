import { closeSync, constants, openSync } from 'node:fs'
import { FsError } from '../base/index.ts'
import { lastErrno, systemError } from './ffi.ts'
import { libcFunction } from './libc.ts'

const LOCK_EX = 2
const LOCK_NB = 4
const EINTR = 4
const EAGAIN = 11

/** Holders keep the lock for a few file operations; a stopped holder must not stop everybody for ever. */
const LOCK_TIMEOUT_MS = 5000

const flock = libcFunction('int flock(int fd, int operation)')

/**
 * Runs `action` while holding flock(2) on a folder. The kernel drops the lock when its holder dies.
 * @throws FsError EBUSY when another process holds it for seconds
 */
export function withFolderLock<T>(folder: string, action: () => T): T {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    const deadline = performance.now() + LOCK_TIMEOUT_MS
    while (flock(fd, LOCK_EX | LOCK_NB) !== 0) {
      const number = lastErrno()
      if (number !== EAGAIN && number !== EINTR) throw systemError(`lock ${folder}`)
      if (performance.now() >= deadline) {
        throw new FsError('EBUSY', `another process holds the lock of ${folder}`)
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
    return action()
  } finally {
    closeSync(fd)
  }
}
