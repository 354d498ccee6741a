import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { UpperPolicy } from '../../../overlay/stored/policy.ts'
import type { DataSource } from '../../../overlay/upper/disk/copy-data.ts'
import { WorkDirectory } from '../../../overlay/upper/disk/work-directory.ts'
import { S_IFREG, type Stat } from '../../../src/base/index.ts'
import { O_PATH } from '../../../src/sys/files/at.ts'
import { makeTempDir, removeTempDir } from '../../library/index.ts'

export const REAL: UpperPolicy = {
  owners: 'real',
  ownerRecord: 'user.containers.override_stat',
  modes: 'private',
  markers: 'user',
  whiteouts: 'device',
  xattrs: true,
  fsync: 'volatile',
}

export const OVERRIDE: UpperPolicy = { ...REAL, owners: 'override' }

/** An upper and its work directory in a new folder. */
export class Scene {
  readonly folder: string
  readonly upperFd: number
  readonly work: WorkDirectory
  readonly #opened: number[] = []

  constructor(folder = makeTempDir()) {
    this.folder = folder
    for (const name of ['upper', 'work']) mkdirSync(join(folder, name))
    this.upperFd = this.open('upper')
    const workFd = this.open('work')
    this.work = new WorkDirectory(workFd, join(folder, 'work'))
  }

  /** An O_PATH descriptor below the folder, closed in the end. */
  open(name: string): number {
    return this.kept(openSync(join(this.folder, name), O_PATH))
  }

  kept(fd: number): number {
    this.#opened.push(fd)
    return fd
  }

  /** Closes the descriptor that was kept last. */
  closeLast(): void {
    const fd = this.#opened.pop()
    if (fd !== undefined) closeSync(fd)
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  close(): void {
    this.closeDescriptors()
    removeTempDir(this.folder)
  }

  closeDescriptors(): void {
    this.work.close()
    for (const fd of this.#opened) closeSync(fd)
  }
}

export function statOf(changes: Partial<Stat> = {}): Stat {
  return {
    ino: 77,
    mode: S_IFREG | 0o644,
    nlink: 1,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    rdev: 0,
    size: 0,
    blocks: 0,
    blksize: 4096,
    atime: 1_000_000_001,
    mtime: -2,
    ctime: 3,
    atimeNsec: 123_456_789,
    mtimeNsec: 999_999_999,
    ctimeNsec: 5,
    ...changes,
  }
}

/** Content that counts how it is read. */
export class MemoryData implements DataSource {
  readonly #bytes: Uint8Array
  readonly reads: [offset: number, length: number][] = []

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  read(offset: number, target: Uint8Array): number {
    const piece = this.#bytes.subarray(offset, offset + target.length)
    target.set(piece)
    this.reads.push([offset, piece.length])
    return piece.length
  }
}

/** `pieces` of data in a file that is else a hole, without memory for the holes. */
export class SparseData implements DataSource {
  readonly #pieces: readonly (readonly [start: number, bytes: Uint8Array])[]
  readonly #size: number

  constructor(size: number, pieces: readonly (readonly [number, Uint8Array])[]) {
    this.#size = size
    this.#pieces = pieces
  }

  read(offset: number, target: Uint8Array): number {
    const found = this.#pieces.find(([start, { length }]) => offset >= start && offset < start + length)
    if (found === undefined) throw new Error(`read in a hole at ${offset}`)
    const piece = found[1].subarray(offset - found[0], offset - found[0] + target.length)
    target.set(piece)
    return piece.length
  }

  seek(offset: number, whence: 'data' | 'hole'): number | undefined {
    if (offset >= this.#size) return undefined
    for (const [start, { length }] of this.#pieces) {
      if (offset >= start + length) continue
      if (whence === 'data') return Math.max(offset, start)
      return offset < start ? offset : start + length
    }
    return whence === 'data' ? undefined : offset
  }
}
