import type { Attribute, NewEntry } from '../../squashfs/write/index.ts'
import {
  type BlockStore,
  ExtentReader,
  type FileSystem,
  FsError,
  isRegular,
  isSymlink,
  type Name,
  type NodeId,
} from '../base/index.ts'
import { readHostFile } from '../molecule/index.ts'
import { escapedAttribute } from './overlay-form.ts'
import { type LeftOut, STORABLE } from './tree-item.ts'

const CACHE_BYTES = 4 << 20
const CHUNK = 1 << 20

/** What a merge of layers shows, as entries of one more layer above them. */
export class MergedEntries {
  readonly fileSystem: FileSystem
  readonly #reader: ExtentReader
  readonly #leftOut: LeftOut | undefined
  readonly #escapes: boolean

  /**
   * @param leftOut counts attributes that squashfs cannot store
   * @param escapes whether what is data, and looks like a mark, is escaped; not for an image that is shown as it is stored
   */
  constructor(fileSystem: FileSystem, store: BlockStore, leftOut?: LeftOut, escapes = true) {
    this.fileSystem = fileSystem
    this.#reader = new ExtentReader(store, readHostFile, { cacheSize: CACHE_BYTES })
    this.#leftOut = leftOut
    this.#escapes = escapes
  }

  /** The content is read when it is wanted. @throws FsError EIO */
  entry(node: NodeId): NewEntry {
    const { mode, uid, gid, mtime, rdev, size } = this.fileSystem.getattr(node)
    const entry = { mode, uid, gid, mtime, rdev, xattrs: this.#attributes(node) }
    if (isSymlink(mode)) return { ...entry, target: Buffer.from(this.fileSystem.readlink(node)) }
    return isRegular(mode) ? { ...entry, size, content: this.#content(node, size) } : entry
  }

  #attributes(node: NodeId): Attribute[] {
    return this.fileSystem.listxattr(node).flatMap((name): Attribute[] => {
      const value = this.fileSystem.getxattr(node, name)
      if (value === undefined) return []
      const attribute: Attribute = [name, Uint8Array.from(value)]
      const escaped = this.#escapes ? escapedAttribute(attribute) : attribute
      const stored = STORABLE.test(name) ? escaped : undefined
      if (stored !== undefined) return [stored]
      if (this.#leftOut !== undefined) this.#leftOut.attributes += 1
      return []
    })
  }

  *#content(node: NodeId, size: number): Generator<Uint8Array> {
    for (let at = 0; at < size; at += CHUNK) {
      const chunk = Buffer.alloc(Math.min(CHUNK, size - at))
      let filled = 0
      this.#reader.read(
        (sink) => this.fileSystem.read(node, at, chunk.length, sink),
        (length) => {
          filled += length
          return chunk.subarray(filled - length, filled)
        },
      )
      if (filled !== chunk.length)
        throw new FsError('EIO', `a file ends at byte ${at + filled}, before its size`)
      yield chunk
    }
  }
}

/** The names of a directory but `.` and `..`, in the order of the file system. @throws FsError EIO */
export function readNames(fileSystem: FileSystem, directory: NodeId): Name[] {
  const names: Name[] = []
  fileSystem.readdir(directory, 0, {
    plus: false,
    add: (name) => {
      if (name !== '.' && name !== '..') names.push(name)
      return true
    },
  })
  return names
}
