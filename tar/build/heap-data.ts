import { FsError, type Name, XATTR_NAME_MAX } from '../../src/base/index.ts'
import { MAP_HEAD, PIECE_SIZE } from '../format/layout.ts'
import type { TarEntry } from '../read/tar-reader.ts'
import type { HeapWriter } from './heap-writer.ts'
import type { EntryData } from './layer-tree.ts'

/** Sets of attributes that are remembered: most files of a layer that have any have the same ones. */
const SETS_MAX = 1024

/** Writes what entries have besides their inode. */
export class HeapData implements EntryData {
  readonly #heap: HeapWriter
  readonly #sets = new Map<string, number>()

  constructor(heap: HeapWriter) {
    this.#heap = heap
  }

  /** A count, and for each attribute the sizes of name and value, the name, the value. @throws FsError EINVAL */
  attributes(xattrs: TarEntry['xattrs']): number {
    if (xattrs.length === 0) return 0
    const parts: Buffer[] = [numbers(xattrs.length)]
    for (const [name, value] of xattrs) {
      assertName(name)
      parts.push(numbers(name.length, value.length), Buffer.from(name, 'latin1'), Buffer.from(value))
    }
    const bytes = Buffer.concat(parts)
    const key = bytes.toString('latin1')
    const known = this.#sets.get(key)
    if (known !== undefined) return known
    if (this.#sets.size >= SETS_MAX) this.#sets.clear()
    const at = this.#heap.add(bytes)
    this.#sets.set(key, at)
    return at
  }

  target(bytes: Uint8Array): number {
    return this.#heap.add(bytes)
  }

  /** A count, and for each piece its place in the file, its length, its place in the archive. */
  pieces({ sparse }: TarEntry): number {
    const { pieces = [], position = 0 } = sparse ?? {}
    const kept = pieces.filter(({ length }) => length > 0)
    const bytes = Buffer.alloc(MAP_HEAD + kept.length * PIECE_SIZE)
    bytes.writeBigUInt64LE(BigInt(kept.length))
    let archiveAt = position
    kept.forEach(({ offset, length }, i) => {
      const values = [offset, length, archiveAt]
      values.forEach((value, k) => {
        bytes.writeBigUInt64LE(BigInt(value), MAP_HEAD + i * PIECE_SIZE + k * 8)
      })
      archiveAt += length
    })
    return this.#heap.add(bytes)
  }
}

function assertName(name: Name): void {
  if (name.length === 0 || name.length > XATTR_NAME_MAX || name.includes('\0')) {
    throw new FsError('EINVAL', `an extended attribute whose name has ${name.length} bytes`)
  }
}

function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, i) => {
    bytes.writeUInt32LE(value, i * 4)
  })
  return bytes
}
