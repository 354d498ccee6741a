import { type NewTime, unlessFailed } from '../../../src/base/index.ts'
import { setModificationTimeFd } from '../../../src/sys/files/fd-attributes.ts'
import { statFd } from '../../../src/sys/files/statx.ts'
import type { Node } from './nodes.ts'

export type Time = Exclude<NewTime, 'now'>

/** Gives a descriptor of the node's file, open for writing. @throws FsError */
export type OpenData = (node: Node) => number

/**
 * Decides who sets the mtime of a regular file when its data change: the host, or a client that keeps times
 * (`WritableFileSystem.clientKeepsTimes`).
 *
 * With its write-back cache the kernel sets mtime at write(2), fallocate(2) and similar calls, also with O_DIRECT
 * (fs/inode.c:file_update_time). It sends it by SETATTR (fs/fuse/dir.c:fuse_flush_times), often before the data. It
 * sends nothing where two calls lie within one tick of its clock. A time set by the host would then stay hidden until
 * the kernel forgets the file, and the next lookup would show another mtime than before. So this class remembers the
 * mtime before the first change. It restores it before any answer carries the mtime, unless a SETATTR has set one.
 */
export class ModificationTimes {
  readonly #openData: OpenData
  readonly #kept = new Map<Node, Time>()
  #left = false

  constructor(openData: OpenData) {
    this.#openData = openData
  }

  /** From now on changes of data do not change mtime. */
  leave(): void {
    this.#left = true
  }

  /** To be called before data or length of a file change. */
  keep(node: Node, fd: number): void {
    if (!this.#left || this.#kept.has(node)) return
    const { mtime, mtimeNsec } = statFd(fd)
    this.#kept.set(node, { seconds: mtime, nanoseconds: mtimeNsec })
  }

  /** The mtime to restore, if there is one. */
  kept(node: Node): Time | undefined {
    return this.#kept.get(node)
  }

  /** The client has set mtime, so the remembered one is out of date. */
  told(node: Node): void {
    this.#kept.delete(node)
  }

  /** Restores the mtime. To be called before an answer carries it, and before the node is forgotten. */
  restore(node: Node): void {
    const time = this.#kept.get(node)
    if (time === undefined) return
    this.#kept.delete(node)
    // A host that refuses this refuses the SETATTR of the kernel as well, and the kernel gets that error.
    unlessFailed(() => setModificationTimeFd(this.#openData(node), time))
  }

  restoreAll(): void {
    for (const node of this.#kept.keys()) this.restore(node)
  }
}
