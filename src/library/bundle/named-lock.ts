import { closeSync, constants, fstatSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { PathText } from '../../base/index.ts'
import type { Folder } from '../../sys/files/folder.ts'
import { tryLock } from '../../sys/files/lock.ts'

const MODE = 0o600
/** Between two looks at a lock that another process holds. */
const PATIENCE_MS = 50

/**
 * Runs `work` while a file of that name in a folder is locked: one process at a time does it, and the others wait for it.
 * The file goes with the work; the kernel drops the lock of a process that ends otherwise.
 * @throws the reason of the signal; FsError as opening a file in the folder
 */
export async function withNamedLock<T>(
  folder: Folder,
  name: PathText,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const fd = await takeLock(folder, name, signal)
  try {
    return await work()
  } finally {
    folder.remove(name)
    closeSync(fd)
  }
}

async function takeLock(folder: Folder, name: PathText, signal: AbortSignal | undefined): Promise<number> {
  for (;;) {
    signal?.throwIfAborted()
    const fd = folder.openFile(name, constants.O_RDWR | constants.O_CREAT, MODE)
    // The holder removes the file: who has locked one that is gone has locked nothing.
    if (tryLock(fd, 'exclusive') && folder.statOf(name)?.ino === fstatSync(fd).ino) return fd
    closeSync(fd)
    await pause(PATIENCE_MS)
  }
}
