import { randomBytes } from 'node:crypto'
import { closeSync } from 'node:fs'
import { isErrno, messageOf, type PathText } from '../base/index.ts'
import { forEachOwnFolder, makeOwnFolder } from '../daemon/client/own-folders.ts'
import { reopenDirectory } from '../sys/files/at.ts'
import type { Folder } from '../sys/files/folder.ts'
import { lockSoon, tryLock, unlockFd } from '../sys/files/lock.ts'

/** Holds one folder for each bundle that a living process is at work on. */
const FOLDER = 'bundles'
const RECORD = 'record.json'

/** What has to be undone where the process that made it is gone. */
export interface UnderWay {
  /** The bundle, absolute. */
  readonly directory: PathText
  /** The command that removes its container by force, if one was started. */
  readonly remove?: readonly string[]
}

/**
 * A bundle that this process is making, or runs a container of. While the process lives it holds a lock, which the kernel
 * takes away at every ending: whoever gets the lock later undoes what is written down beside it.
 */
export class Claim {
  readonly #folder: Folder
  readonly #name: PathText
  readonly #lock: number

  private constructor(folder: Folder, name: PathText, lock: number) {
    this.#folder = folder
    this.#name = name
    this.#lock = lock
  }

  /** @throws FsError where no folder for runtime data can be made; EBUSY */
  static make(metadataDir: PathText | undefined, what: UnderWay): Claim {
    const folder = makeOwnFolder(metadataDir, FOLDER)
    try {
      // Nobody looks through the folder between the making of an entry and its lock.
      return withLock(folder, () => {
        const name = randomBytes(8).toString('hex')
        const entry = folder.make(name, 0o700)
        try {
          const lock = reopenDirectory(entry.fd)
          tryLock(lock, 'exclusive')
          entry.write(RECORD, JSON.stringify(what), 0o600)
          return new Claim(folder, name, lock)
        } finally {
          entry.close()
        }
      })
    } catch (error) {
      folder.close()
      throw error
    }
  }

  /** Writes down more. @throws FsError ENOSPC, … */
  note(what: UnderWay): void {
    const entry = this.#folder.folder(this.#name)
    try {
      entry.write(RECORD, JSON.stringify(what), 0o600)
    } finally {
      entry.close()
    }
  }

  /** Nothing has to be undone any more. */
  end(): void {
    this.#folder.remove(this.#name)
    closeSync(this.#lock)
    this.#folder.close()
  }
}

/**
 * Undoes what processes of this user have left that were killed.
 * @param undo throws where something stays; it is tried again the next time
 * @returns what stayed, one line each
 */
export async function sweepUnderWay(
  metadataDir: PathText | undefined,
  undo: (what: UnderWay) => Promise<void>,
): Promise<readonly string[]> {
  const left: Left[] = []
  forEachOwnFolder(metadataDir, FOLDER, (folder) => {
    withLock(folder, () => left.push(...folder.names().flatMap((name) => take(folder, name) ?? [])))
  })
  const stayed: string[] = []
  for (const { what, entry, lock } of left) {
    try {
      if (what !== undefined) await undo(what)
      forEachOwnFolder(metadataDir, FOLDER, (folder) => folder.remove(entry))
    } catch (error) {
      stayed.push(`${what?.directory ?? entry} stays: ${messageOf(error)}`)
    } finally {
      closeSync(lock)
    }
  }
  return stayed
}

/** An entry whose process is gone, locked. */
interface Left {
  readonly entry: PathText
  readonly lock: number
  /** Absent where the process was killed before it had written anything down. */
  readonly what: UnderWay | undefined
}

function take(folder: Folder, entry: PathText): Left | undefined {
  const found = folder.find(entry)
  if (found === undefined) return undefined
  try {
    const lock = reopenDirectory(found.fd)
    if (tryLock(lock, 'exclusive')) return { entry, lock, what: parse(found.read(RECORD)) }
    closeSync(lock)
    return undefined
  } finally {
    found.close()
  }
}

function parse(text: string | undefined): UnderWay | undefined {
  try {
    const record: unknown = JSON.parse(text ?? '')
    if (typeof record !== 'object' || record === null || !('directory' in record)) return undefined
    const { directory } = record
    const remove = 'remove' in record && Array.isArray(record.remove) ? record.remove.map(String) : undefined
    if (typeof directory !== 'string') return undefined
    return remove === undefined ? { directory } : { directory, remove }
  } catch {
    return undefined
  }
}

function withLock<T>(folder: Folder, use: () => T): T {
  const fd = reopenDirectory(folder.fd)
  try {
    try {
      lockSoon(fd, folder.path)
    } catch (error) {
      // A file system without locks: there is no better way than to go on.
      if (!isErrno(error, 'ENOLCK', 'EOPNOTSUPP')) throw error
    }
    return use()
  } finally {
    unlockFd(fd)
    closeSync(fd)
  }
}
