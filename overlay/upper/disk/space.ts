import { closeSync } from 'node:fs'
import { DT_DIR, DT_UNKNOWN, FsError, isDirectory, type Name } from '../../../src/base/index.ts'
import { O_PATH, openAt, openParent, reopenFd } from '../../../src/sys/files/at.ts'
import { listEntries } from '../../../src/sys/files/directory-entries.ts'
import { type HostStat, statAt, statFd } from '../../../src/sys/files/statx.ts'

/** Bytes that a file, a directory or a whiteout counts at least: its inode, its name. */
export const INODE_COST = 1024

/** Unit of `blocks` in stat(2), bytes. */
const SECTOR = 512

/**
 * The bound of what an upper directory takes on its disk. Operations take bytes before they write, and give none back: an
 * upper is measured again when they have taken all that was free, which happens once for each time that a container
 * writes as much. So no operation has to know what a file shares, where its holes are, or when its last user goes.
 */
export class Space {
  readonly #limit: number
  readonly #measure: () => number
  /** Bytes that can be taken before the next measurement. */
  #free = 0

  /** @param limit bytes. @param measure tells how many the upper takes */
  constructor(limit: number, measure: () => number) {
    this.#limit = limit
    this.#measure = measure
  }

  /** @param bytes that the next operation may add. @throws FsError ENOSPC */
  take(bytes: number): void {
    if (bytes > this.#free) {
      this.#free = Math.max(this.#limit - this.#measure(), 0)
      if (bytes > this.#free) {
        throw new FsError('ENOSPC', `the changes may take ${this.#limit} bytes, and ${this.#free} are left`)
      }
    }
    this.#free -= bytes
  }

  /** Bytes of the bound, and those of them that are free now. */
  state(): { readonly limit: number; readonly free: number } {
    return { limit: this.#limit, free: Math.max(this.#limit - this.#measure(), 0) }
  }
}

/** Bytes that a copy of a file takes. */
export function copyCost({ size, blocks }: { readonly size: number; readonly blocks: number }): number {
  return INODE_COST + Math.min(size, blocks * SECTOR)
}

/**
 * Bytes on the disk of all files below some directories, each once. Holds one descriptor at a time, however deep they are.
 * @param roots O_PATH descriptors
 * @param others descriptors of further files; those that have a name are left out, because the walk meets them
 */
export function measureBelow(roots: readonly number[], others: Iterable<number>): number {
  const linked = new Set<HostStat['inode']>()
  let sum = 0
  const count = (stat: HostStat): void => {
    if (stat.nlink > 1 && !isDirectory(stat.mode)) {
      if (linked.has(stat.inode)) return
      linked.add(stat.inode)
    }
    sum += Math.max(stat.blocks * SECTOR, INODE_COST)
  }
  for (const root of roots) walk(root, count)
  for (const fd of others) {
    const stat = statFd(fd)
    if (stat.nlink === 0) count(stat)
  }
  return sum
}

/** The directories of one level that are still to be entered. */
type Level = Name[]

function walk(root: number, count: (stat: HostStat) => void): void {
  let at = reopenFd(root, O_PATH)
  try {
    const levels: Level[] = [look(at, count)]
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const name = level.pop()
      if (name === undefined) {
        levels.pop()
        if (levels.length > 0) at = replace(at, openParent(at))
        continue
      }
      at = replace(at, openAt(at, name, O_PATH))
      levels.push(look(at, count))
    }
  } finally {
    closeSync(at)
  }
}

function replace(old: number, next: number): number {
  closeSync(old)
  return next
}

/** Counts what is in a directory. @returns the directories in it */
function look(directory: number, count: (stat: HostStat) => void): Level {
  const below: Level = []
  for (const { name, type } of listEntries(directory)) {
    const stat = statAt(directory, name)
    if (stat === undefined) continue
    count(stat)
    if ((type === DT_DIR || type === DT_UNKNOWN) && isDirectory(stat.mode)) below.push(name)
  }
  return below
}
