import type { Cookie, DirectorySink, Entry, InodeNumber } from '../../base/index.ts'
import { DIRENT_SIZE, ENTRY_OUT_SIZE } from './abi.ts'
import { encodeEntry, type Reply } from './encode.ts'

/**
 * Packs directory entries into a reply as READDIR (`struct fuse_dirent`) or READDIRPLUS
 * (`struct fuse_direntplus`), each padded to 8 bytes, until `capacity` bytes are used.
 */
export class DirentPacker implements DirectorySink {
  readonly plus: boolean
  readonly #reply: Reply
  readonly #capacity: number

  constructor(reply: Reply, capacity: number, plus: boolean) {
    this.#reply = reply
    this.#capacity = capacity
    this.plus = plus
  }

  /** An entry without `Entry` in READDIRPLUS has node id 0: the kernel then looks it up by itself. */
  add(name: string, ino: InodeNumber, type: number, cookie: Cookie, entry: Entry | undefined): boolean {
    const reply = this.#reply
    const padding = -name.length & 7
    const size = (this.plus ? ENTRY_OUT_SIZE : 0) + DIRENT_SIZE + name.length + padding
    if (reply.length + size > this.#capacity) return false
    if (this.plus) {
      if (entry === undefined) reply.zeros(ENTRY_OUT_SIZE)
      else encodeEntry(reply, entry)
    }
    reply.inode(ino)
    reply.u64(cookie)
    reply.u32(name.length)
    reply.u32(type)
    reply.name(name)
    reply.zeros(padding)
    return true
  }
}
