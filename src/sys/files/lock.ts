import { closeSync, constants, fstatSync, readFileSync } from 'node:fs'
import { ERRNO, FsError, type PathText } from '../../base/index.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { pause } from '../plain/pause.ts'
import { procPath } from '../plain/proc.ts'
import { reopenDirectory } from './at.ts'
import type { Folder } from './folder.ts'

const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_NB = 4
const LOCK_UN = 8
const { EINTR, EAGAIN } = ERRNO

/**
 * Holders keep the lock for a few file operations. The bound is for a stopped holder, for which others must not wait
 * for ever.
 */
const LOCK_TIMEOUT_MS = 5000

/** Of a file that is made to be locked. */
const NAMED_MODE = 0o600
/** Between two looks at the lock of a name. */
const PATIENCE_MS = 50

const flock = libcFunction('int flock(int fd, int operation)')

/**
 * Takes flock(2) for the open file of a descriptor, until its last descriptor is closed or its process ends.
 * @returns false where another process holds the lock
 * @throws FsError EBADF, ENOLCK, EOPNOTSUPP on file systems without such locks
 */
export function tryLock(fd: number, kind: 'shared' | 'exclusive'): boolean {
  const operation = kind === 'shared' ? LOCK_SH : LOCK_EX
  for (;;) {
    if (flock(fd, operation | LOCK_NB) === 0) return true
    const number = lastErrno()
    if (number === EAGAIN) return false
    if (number !== EINTR) throw systemError(`lock fd ${fd}`)
  }
}

/**
 * Takes the exclusive lock as `tryLock`, and waits for a holder that keeps it for a few file operations.
 * @param what names the file, for messages
 * @throws FsError EBUSY where another process holds the lock for seconds; others as `tryLock`
 */
export function lockSoon(fd: number, what: string): void {
  const deadline = performance.now() + LOCK_TIMEOUT_MS
  while (!tryLock(fd, 'exclusive')) {
    if (performance.now() >= deadline) {
      throw new FsError('EBUSY', `another process holds the lock of ${what}`)
    }
    pause(5)
  }
}

/**
 * Locks a file of that name in a folder, made for it: one process at a time does what the name stands for, and the others
 * wait. The kernel drops the lock of a process that ends.
 * @returns what removes the file and ends the lock, once
 * @throws the reason of the signal; FsError as opening a file in the folder
 */
export async function takeNamedLock(
  folder: Folder,
  name: PathText,
  signal: AbortSignal | undefined,
): Promise<() => void> {
  for (;;) {
    signal?.throwIfAborted()
    const fd = folder.openFile(name, constants.O_RDWR | constants.O_CREAT, NAMED_MODE)
    // The holder removes the file: who has locked one that is gone has locked nothing.
    if (tryLock(fd, 'exclusive') && folder.statOf(name)?.ino === fstatSync(fd).ino) {
      return () => {
        try {
          folder.remove(name)
        } finally {
          closeSync(fd)
        }
      }
    }
    closeSync(fd)
    await new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))
  }
}

/** Releases the lock while the descriptor stays open. */
export function unlockFd(fd: number): void {
  flock(fd, LOCK_UN)
}

/**
 * Process id of the holder of flock(2) for the file of a descriptor; undefined where it cannot be found. `/proc/locks`
 * gives inodes and devices, but some file systems have other device numbers there than in stat(2). So an inode number
 * is enough if all locks with it have the same holder.
 */
export function lockHolder(fd: number): number | undefined {
  // fs.fstat gives the number as a signed one.
  const ino = BigInt.asUintN(64, fstatSync(fd, { bigint: true }).ino)
  const holders = readLocks().filter((lock) => lock.ino === ino)
  const pids = new Set(holders.map((lock) => lock.pid))
  const [pid] = pids
  // The kernel shows 0 or less for a process in another pid namespace.
  return pids.size === 1 && pid !== undefined && pid > 0 ? pid : undefined
}

/** The lines of `/proc/locks` (proc_locks(5)) about flock(2). */
function readLocks(): readonly { readonly pid: number; readonly ino: bigint }[] {
  try {
    const lines = readFileSync(procPath('locks'), 'latin1').matchAll(
      /^\d+: FLOCK +\w+ +\w+ +(-?\d+) [\da-f]+:[\da-f]+:(\d+) /gm,
    )
    return [...lines].map(([, pid, ino]) => ({ pid: Number(pid), ino: BigInt(ino ?? 0) }))
  } catch {
    return []
  }
}

/**
 * Runs `action` while holding flock(2) on a folder. The kernel releases the lock when the process ends.
 * @param dir may be O_PATH
 * @param what names the folder, for messages
 * @throws FsError EBUSY where another process holds the lock for seconds
 */
export function withFolderLock<T>(dir: number, what: string, action: () => T): T {
  const fd = reopenDirectory(dir)
  try {
    lockSoon(fd, what)
    return action()
  } finally {
    closeSync(fd)
  }
}
