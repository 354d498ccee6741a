import { closeSync, fsyncSync, readSync, writeSync } from 'node:fs'
import { FsError, isErrno, unlessFailed } from '../base/index.ts'
import { linkAt } from '../sys/files/at.ts'
import { createMemoryFile } from '../sys/files/descriptor.ts'
import type { Folder } from '../sys/files/folder.ts'
import { takeNamedLock } from '../sys/files/lock.ts'
import { syncFolder } from '../sys/files/new-file.ts'
import { UnfinishedFile } from '../sys/files/unfinished-file.ts'
import { openStored } from './find-stored.ts'
import { holdInMemory, MEMORY_MAX } from './held-in-memory.ts'
import { foldersForNew, storePath } from './place.ts'
import type { StoredName } from './stored-name.ts'

const MODE = 0o600
const COPY_CHUNK = 1 << 20
/** What is said of a folder that takes no new files. */
const UNWRITABLE = ['EROFS', 'EACCES', 'ENOENT', 'ENOTDIR'] as const

/** Where files that are made of layers go. */
export interface NewPlace {
  /** Most bytes of an index. */
  readonly limit?: number
  /** Why there is no room for images; absent where they may go there. */
  readonly refusesImages?: FsError
  /**
   * Makes a file that gets its name when it is whole and on the disk.
   * @param fill writes it, and says what it is
   */
  make(begin: StoredName, fill: (fd: number) => Promise<StoredName>): Promise<void>
  /** Gives a file that is there another name as well. */
  alias(present: StoredName, other: StoredName): void
  remove(stored: StoredName): void
}

/**
 * Lends the place for what is made of one layer. Other processes that want to make the same wait.
 * @param stored what will be made, perhaps
 * @throws FsError ENOSPC, EPERM, …; the reason of the signal
 */
export async function withNewPlace(
  stored: StoredName,
  signal: AbortSignal | undefined,
  work: (place: NewPlace) => Promise<void>,
): Promise<void> {
  let refused: FsError | undefined
  for (const open of foldersForNew()) {
    let locked: LockedFolder
    try {
      locked = await lockFolder(open(stored.algorithm), stored.name, signal)
    } catch (error) {
      if (!(error instanceof FsError) || !isErrno(error, ...UNWRITABLE)) throw error
      refused ??= error
      continue
    }
    try {
      await work(folderPlace(locked.folder, open))
    } finally {
      locked.release()
    }
    return
  }
  await work(memoryPlace(refused))
}

interface LockedFolder {
  readonly folder: Folder
  release(): void
}

async function lockFolder(folder: Folder, name: string, signal?: AbortSignal): Promise<LockedFolder> {
  try {
    const unlock = await takeNamedLock(folder, `${name}.lock`, signal)
    const release = (): void => {
      try {
        unlock()
      } finally {
        folder.close()
      }
    }
    return { folder, release }
  } catch (error) {
    folder.close()
    throw error
  }
}

function folderPlace(own: Folder, open: (algorithm: string) => Folder): NewPlace {
  const inFolder = <T>({ algorithm }: StoredName, work: (folder: Folder) => T): T => {
    const folder = open(algorithm)
    try {
      return work(folder)
    } finally {
      folder.close()
    }
  }
  return {
    async make(begin, fill) {
      const output = UnfinishedFile.begin(own.fd, begin.name, MODE)
      try {
        const stored = await fill(output.fd)
        fsyncSync(output.fd)
        inFolder(stored, (folder) => {
          output.giveName(stored.name, true, folder.fd)
          syncFolder(folder.fd)
        })
      } finally {
        output.close()
      }
    },
    alias(present, other) {
      inFolder(other, (folder) => {
        unlessFailed(() => folder.remove(other.name))
        if (folder.statOf(present.name) !== undefined) linkAt(folder.fd, present.name, folder.fd, other.name)
        else copyStored(present, other.name, folder)
        syncFolder(folder.fd)
      })
    },
    remove: (stored) => inFolder(stored, (folder) => folder.remove(stored.name)),
  }
}

/** It lies elsewhere: beside the image, or in memory. */
function copyStored(present: StoredName, name: string, folder: Folder): void {
  const from = openStored(present)
  if (from === undefined) throw new FsError('ENOENT', `${present.name} was removed from the store`)
  const output = UnfinishedFile.begin(folder.fd, name, MODE)
  try {
    copyAll(from, output.fd)
    fsyncSync(output.fd)
    output.giveName(name, true)
  } finally {
    output.close()
    closeSync(from)
  }
}

function copyAll(from: number, to: number): void {
  const chunk = Buffer.alloc(COPY_CHUNK)
  for (let at = 0; ; ) {
    const length = readSync(from, chunk, 0, COPY_CHUNK, at)
    if (length === 0) return
    for (let done = 0; done < length; ) done += writeSync(to, chunk, done, length - done, at + done)
    at += length
  }
}

/** For machines without a disk to write to: indexes live as long as the process, and those that it hands them to. */
function memoryPlace(refused: FsError | undefined): NewPlace {
  const why = `the store ${storePath()} cannot be written to (${refused?.code ?? 'EROFS'})`
  return {
    limit: MEMORY_MAX,
    refusesImages: new FsError(
      'EROFS',
      `${why}, where it would be converted: name another one with --store DIR`,
    ),
    async make(begin, fill) {
      const fd = createMemoryFile(begin.name)
      try {
        holdInMemory(await fill(fd), fd)
      } catch (error) {
        closeSync(fd)
        throw error
      }
    },
    alias(present, other) {
      const fd = openStored(present)
      if (fd !== undefined) holdInMemory(other, fd)
    },
    remove: () => undefined,
  }
}
