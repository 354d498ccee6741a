import { type NewTime, unlessFailed } from '../../../src/base/index.ts'
import { setModificationTimeFd } from '../../../src/sys/files/fd-attributes.ts'
import { statFd } from '../../../src/sys/files/statx.ts'
import type { Node } from './nodes.ts'

export type Time = Exclude<NewTime, 'now'>

/** Gives a descriptor of the node's file that is open for writing. @throws FsError */
export type OpenData = (node: Node) => number

/**
 * Who sets the mtime of a regular file when its data change: the host, or a client that keeps it
 * (`WritableFileSystem.clientKeepsTimes`).
 *
 * With its write-back cache the kernel notes the time of write(2), fallocate(2) and their like, of writes with O_DIRECT
 * too (fs/inode.c:file_update_time), and tells it by SETATTR (fs/fuse/dir.c:fuse_flush_times), often before the data
 * arrive; and not at all when two calls meet within one tick of its clock. A time of the host's would stay until the
 * kernel forgets the file, meets it again, and shows another mtime than before. So the mtime from before the first change
 * is kept, and put back before anybody is told, unless the kernel tells one first.
 */
export class ModificationTimes {
  readonly #openData: OpenData
  readonly #kept = new Map<Node, Time>()
  #left = false

  constructor(openData: OpenData) {
    this.#openData = openData
  }

  /** From now on changes of data leave mtime as it is. */
  leave(): void {
    this.#left = true
  }

  /** Before data or length of a file change. */
  keep(node: Node, fd: number): void {
    if (!this.#left || this.#kept.has(node)) return
    const { mtime, mtimeNsec } = statFd(fd)
    this.#kept.set(node, { seconds: mtime, nanoseconds: mtimeNsec })
  }

  /** The mtime that will be put back, if one is kept. */
  kept(node: Node): Time | undefined {
    return this.#kept.get(node)
  }

  /** The mtime was set: what was kept is out of date. */
  told(node: Node): void {
    this.#kept.delete(node)
  }

  /** Puts the mtime back, before somebody is told, or the node is forgotten. */
  restore(node: Node): void {
    const time = this.#kept.get(node)
    if (time === undefined) return
    this.#kept.delete(node)
    // Where the host refuses this, it refuses what the kernel tells as well, and that is answered.
    unlessFailed(() => setModificationTimeFd(this.#openData(node), time))
  }

  restoreAll(): void {
    for (const node of this.#kept.keys()) this.restore(node)
  }
}
