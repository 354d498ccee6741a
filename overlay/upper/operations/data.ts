import { closeSync } from 'node:fs'
import {
  type Background,
  changing,
  DT_REG,
  type ExtentSink,
  FsError,
  isErrno,
  Postponed,
  runSteps,
  type Steps,
  type SyncKind,
  syncBy,
  type Whence,
  Work,
} from '../../../src/base/index.ts'
import { reopenDirectory } from '../../../src/sys/files/at.ts'
import { duplicateDescriptor } from '../../../src/sys/files/descriptor.ts'
import { copyRange, fallocateFd, pread, pwrite, seekFd, syncFd } from '../../../src/sys/files/file-io.ts'
import { statFd } from '../../../src/sys/files/statx.ts'
import { Ownership } from '../disk/ownership.ts'
import { LayerReader } from '../nodes/layer-reader.ts'
import { assertRegular, isDirectoryNode, type Node } from '../nodes/nodes.ts'
import { layerOf, partOf } from '../nodes/present.ts'
import type { Upper } from '../nodes/upper.ts'
import type { CopyUp } from './copy-up.ts'

/** Frees space (fallocate(2)). */
const FALLOC_FL_PUNCH_HOLE = 2

/** Most bytes that one copy_file_range(2) copies by read and write: other requests wait meanwhile. */
const COPY_AT_ONCE = 1 << 20

/** Content of regular files, in the layers and in the upper. Offsets and lengths are bytes. */
export class FileData {
  readonly #upper: Upper
  readonly #copyUp: CopyUp
  readonly #ownership: Ownership
  readonly #reader: LayerReader

  constructor(upper: Upper, copyUp: CopyUp) {
    this.#upper = upper
    this.#copyUp = copyUp
    this.#ownership = new Ownership(upper.policy)
    this.#reader = new LayerReader(upper.store, upper.readHostFile)
  }

  /** @throws FsError EISDIR, EINVAL */
  read(node: Node, offset: number, size: number, sink: ExtentSink): void {
    assertRegular(node)
    if (!node.inUpper) {
      const part = partOf(node)
      layerOf(this.#upper, part).extents(part.ref, offset, size, sink)
      return
    }
    const fd = this.#upper.files.data(node, false)
    const clipped = Math.min(size, statFd(fd).size - offset)
    if (clipped > 0) sink.file(fd, offset, clipped)
  }

  /** @returns bytes written. @throws FsError ENOSPC, EDQUOT, EFBIG */
  write(node: Node, offset: number, data: Uint8Array, killPrivileges: boolean): number {
    assertRegular(node)
    this.#copyUp.ensure(node)
    return changing(() => {
      const fd = this.#upper.files.data(node, true)
      // Before the data: afterwards a user could run the new data with the old rights.
      if (killPrivileges) this.#ownership.killPrivileges(fd)
      this.#upper.space?.take(data.length)
      this.#beforeWrite(node, fd, data.length)
      return pwrite(fd, offset, data)
    })
  }

  /** @throws FsError ENXIO past the end */
  seek(node: Node, offset: number, whence: Whence): number {
    assertRegular(node)
    if (!node.inUpper) {
      const part = partOf(node)
      return layerOf(this.#upper, part).seek(part.ref, offset, whence)
    }
    const found = seekFd(this.#upper.files.data(node, false), offset, whence)
    if (found === undefined) throw new FsError('ENXIO', `no ${whence} from ${offset}`)
    return found
  }

  fallocate(node: Node, mode: number, offset: number, length: number): void {
    assertRegular(node)
    this.#copyUp.ensure(node)
    changing(() => {
      const fd = this.#upper.files.data(node, true)
      if ((mode & FALLOC_FL_PUNCH_HOLE) === 0) this.#upper.space?.take(length)
      this.#beforeWrite(node, fd, 0)
      fallocateFd(fd, mode, offset, length)
    })
  }

  /**
   * @returns bytes copied, perhaps fewer than asked for; 0 at the end of `from`
   * @throws FsError EINVAL for an overlap
   */
  copyRange(from: Node, fromOffset: number, to: Node, toOffset: number, length: number): number {
    assertRegular(from)
    assertRegular(to)
    if (from === to && Math.abs(fromOffset - toOffset) < length) {
      throw new FsError('EINVAL', `copy of ${length} bytes from ${fromOffset} to ${toOffset} overlaps`)
    }
    this.#copyUp.ensure(to)
    const below = from.inUpper ? undefined : this.#readPart(from, fromOffset, length)
    return changing(() => {
      const target = this.#upper.files.data(to, true)
      this.#upper.space?.take(below?.length ?? this.#rangeIn(from, fromOffset, length))
      this.#beforeWrite(to, target, length)
      if (below !== undefined) return pwrite(target, toOffset, below)
      return this.#copyInUpper(from, fromOffset, target, toOffset, length)
    })
  }

  /**
   * @param dataOnly as fdatasync(2). Data in the layers needs no sync.
   * @throws Postponed where a worker syncs: the end of its work is the answer
   */
  sync(node: Node, dataOnly: boolean): void {
    const { files, policy, times } = this.#upper
    if (!node.inUpper || policy.fsync === 'volatile') return
    times.restore(node)
    const kind = dataOnly ? 'data' : 'all'
    if (!isDirectoryNode(node)) {
      if (node.type === DT_REG) this.#syncIt(node, files.data(node, false), duplicateDescriptor, kind)
    } else if (!node.dead) this.#syncIt(node, files.directory(node), reopenDirectory, kind)
  }

  /** @throws Postponed as `sync` */
  syncAll(): void {
    if (this.#upper.policy.fsync === 'volatile') return
    const { files, table, times } = this.#upper
    times.restoreAll()
    this.#syncIt(table.root, files.rootFd, reopenDirectory, 'file system')
  }

  /** @param reopen gives a descriptor of the same file for the sync, which closes it */
  #syncIt(node: Node, fd: number, reopen: (fd: number) => number, kind: SyncKind): void {
    const { background, syncCost } = this.#upper
    const isShort = kind !== 'file system' && syncCost.isShort(syncCost.written(node))
    const helper = isShort ? undefined : background
    const steps = this.#syncAndClose(node, reopen(fd), kind, helper)
    if (helper !== undefined) throw new Postponed(new Work(steps), true)
    runSteps(steps)
  }

  /** @param fd closed at the end */
  *#syncAndClose(node: Node, fd: number, kind: SyncKind, background: Background | undefined): Steps {
    const start = performance.now()
    try {
      if (background === undefined) syncFd(fd, kind)
      else yield* syncBy(background.transfer(fd, true), kind)
    } finally {
      closeSync(fd)
      if (kind !== 'file system') this.#upper.syncCost.noteSync(start, node)
    }
  }

  #beforeWrite(node: Node, fd: number, bytes: number): void {
    node.told = false
    this.#upper.times.keep(node, fd)
    this.#upper.syncCost.noteWrite(node, bytes)
  }

  #copyInUpper(from: Node, fromOffset: number, target: number, toOffset: number, length: number): number {
    const source = this.#upper.files.data(from, false)
    try {
      return copyRange(source, fromOffset, target, toOffset, length)
    } catch (error) {
      if (!isErrno(error, 'EXDEV', 'EOPNOTSUPP')) throw error
    }
    const buffer = new Uint8Array(Math.min(length, COPY_AT_ONCE))
    const count = pread(source, fromOffset, buffer)
    return count === 0 ? 0 : pwrite(target, toOffset, buffer.subarray(0, count))
  }

  /** Bytes that a file of the upper has in a range. */
  #rangeIn(from: Node, offset: number, length: number): number {
    return Math.max(Math.min(length, statFd(this.#upper.files.data(from, false)).size - offset), 0)
  }

  /** Reads as much of a file of the layers as one request copies. */
  #readPart(node: Node, offset: number, length: number): Uint8Array {
    const buffer = new Uint8Array(Math.min(length, COPY_AT_ONCE))
    const part = partOf(node)
    return buffer.subarray(0, this.#reader.read(layerOf(this.#upper, part), part.ref, offset, buffer))
  }
}
