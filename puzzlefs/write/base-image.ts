import { type ByteSource, isDirectory, isRegular, isSymlink, type Name } from '../../src/base/index.ts'
import { FileMaps } from '../chunks/file-map.ts'
import { nameAt, numberAt } from '../directories/entries.ts'
import { PuzzleImage } from '../image.ts'
import { Attributes } from '../rootfs/attributes.ts'
import { decodeInode, isWhiteout, numberOf, targetOf } from '../rootfs/inode.ts'
import type { NewChunk, NewInode } from './rootfs-writer.ts'

/** Numbers are shown as they are stored below this. */
const NUMBERS_LIMIT = 2 ** 32

/** An image on which another one is built: it keeps the numbers of what has the same path, and the metadata below its own. */
export class BaseImage {
  readonly #image: PuzzleImage

  /** @param source its metadata, verified. @throws FsError EINVAL, EIO */
  constructor(source: ByteSource) {
    this.#image = new PuzzleImage({ source, sourceId: 0, label: source.label })
  }

  /** The first number that no inode of any layer has. @throws FsError EIO */
  get nextNumber(): number {
    const { message, vectors } = this.#image.rootfs
    let last = 1
    for (const { inodes } of vectors) {
      for (let index = 0; index < inodes.count; index++) {
        last = Math.max(last, numberOf(message, message.element(inodes, index)))
      }
    }
    if (last < NUMBERS_LIMIT) return last + 1
    throw message.damage(0, `an inode has the number ${last}`)
  }

  /** The number of what has a path; undefined where there is nothing. @throws FsError EIO */
  numberOf(path: Name): number | undefined {
    const found = this.#find(path)
    return found && this.#image.stat(found.ref).ino
  }

  /** The names of a directory with their numbers, as they are stored; none where there is no such directory. */
  namesIn(path: Name): readonly (readonly [name: Name, ino: number])[] {
    const found = this.#find(path)
    if (found === undefined || !isDirectory(this.#image.stat(found.ref).mode)) return []
    const cursor = this.#image.openDirectory(found.ref, 0)
    const names: [Name, number][] = []
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next())
      names.push([entry.name, entry.ino])
    return names
  }

  /** Its layers of metadata, topmost first. @throws FsError EIO */
  layers(): readonly (readonly NewInode[])[] {
    const { message, vectors } = this.#image.rootfs
    const maps = new FileMaps(message, () => {})
    const attributes = new Attributes(message)
    return vectors.map(({ inodes, first }) =>
      Array.from({ length: inodes.count }, (_, index): NewInode => {
        const view = message.element(inodes, index)
        const ino = numberOf(message, view)
        if (isWhiteout(message, view)) return { ino, mode: 0, uid: 0, gid: 0, rdev: 0 }
        const inode = decodeInode(message, first + index, view)
        const { mode, uid, gid, rdev, list } = inode
        const xattrs = attributes
          .names(inode)
          .map((name) => [name, attributes.value(inode, name) ?? new Uint8Array(0)] as const)
        const target = isSymlink(mode) ? message.bytes(targetOf(message, inode)) : undefined
        const chunks: NewChunk[] = []
        if (isRegular(mode)) {
          maps.pieces(inode, 0, maps.size(inode), ({ digest, offset, isCompressed, length }) =>
            chunks.push({ digest: Buffer.from(digest, 'latin1'), offset, length, compressed: isCompressed }),
          )
        }
        const entries = isDirectory(mode)
          ? Array.from(
              { length: list.count },
              (_entry, at) => [nameAt(message, list, at) ?? '', numberAt(message, list, at)] as const,
            ).filter(([name]) => name !== '')
          : undefined
        return { ino, mode, uid, gid, rdev, xattrs, target, chunks, entries }
      }),
    )
  }

  /** Its chunks with their fs-verity digests, hex. @throws FsError EIO */
  chunks(): readonly (readonly [digest: string, verity: string])[] {
    const { chunks } = this.#image.rootfs
    return Array.from({ length: chunks.count }, (_, index) => {
      return [Buffer.from(chunks.digest(index), 'latin1').toString('hex'), chunks.verity(index)] as const
    })
  }

  #find(path: Name): { readonly ref: number } | undefined {
    let found: { readonly ref: number } | undefined = { ref: this.#image.root }
    for (const name of path === '' ? [] : path.split('/')) {
      if (found === undefined || !isDirectory(this.#image.stat(found.ref).mode)) return undefined
      found = this.#image.lookup(found.ref, name)
    }
    return found
  }
}
