import { type NewTime, type Stat, unlessFailed } from '../../../src/base/index.ts'
import { setTimesFd } from '../../../src/sys/files/fd-attributes.ts'
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
  /** The file whose mtime was seen last: most data are written right after their file was made. */
  #seen: { readonly node: Node; readonly time: Time } | undefined
  #left = false

  constructor(openData: OpenData) {
    this.#openData = openData
  }

  /** From now on changes of data do not change mtime. */
  leave(): void {
    this.#left = true
  }

  /** Notes the mtime of a new file. */
  saw(node: Node, stat: Stat): void {
    if (this.#left) this.#seen = { node, time: timeOf(stat) }
  }

  /** To be called before data or length of a file change. */
  keep(node: Node, fd: number): void {
    if (!this.#left || this.#kept.has(node)) return
    const time = this.#seen?.node === node ? this.#seen.time : timeOf(statFd(fd))
    this.#kept.set(node, time)
  }

  /** The mtime to restore, if there is one. */
  kept(node: Node): Time | undefined {
    return this.#kept.get(node)
  }

  /** The client has set mtime, so the remembered one is out of date. */
  told(node: Node): void {
    this.#kept.delete(node)
    if (this.#seen?.node === node) this.#seen = undefined
  }

  /**
   * Restores the mtime. To be called before an answer carries it, and before the node is forgotten.
   * @returns false where there was none to restore
   */
  restore(node: Node): boolean {
    const time = this.#kept.get(node)
    if (time === undefined) return false
    this.#kept.delete(node)
    // A host that refuses this refuses the SETATTR of the kernel as well, and the kernel gets that error.
    unlessFailed(() => setTimesFd(this.#openData(node), undefined, time))
    return true
  }

  restoreAll(): void {
    for (const node of this.#kept.keys()) this.restore(node)
  }
}

function timeOf({ mtime, mtimeNsec }: Stat): Time {
  return { seconds: mtime, nanoseconds: mtimeNsec }
}
