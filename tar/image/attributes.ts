import { ByteReader, type Name } from '../../src/base/index.ts'
import type { StoredInode } from '../format/layout.ts'
import type { IndexPages } from './index-pages.ts'

const NUMBER = 4

interface Attribute {
  readonly name: Name
  /** Where its value is. */
  readonly at: number
  readonly length: number
}

/** The extended attributes of an inode, values left out until one is wanted. @throws FsError EIO */
function* attributesOf(pages: IndexPages, { attributes }: StoredInode): Generator<Attribute> {
  if (attributes === 0) return
  const numbers = (at: number, count: number): ByteReader =>
    ByteReader.over(pages.read(at, count * NUMBER), `${pages.label}: attributes at ${attributes}`)
  const count = numbers(attributes, 1).u32()
  for (let at = attributes + NUMBER, i = 0; i < count; i++) {
    const sizes = numbers(at, 2)
    const [nameLength, length] = [sizes.u32(), sizes.u32()]
    const name = pages.read(at + 2 * NUMBER, nameLength).toString('latin1')
    at += 2 * NUMBER + nameLength
    yield { name, at, length }
    at += length
  }
}

/** @throws FsError EIO */
export function attributeNames(pages: IndexPages, inode: StoredInode): readonly Name[] {
  return [...attributesOf(pages, inode)].map(({ name }) => name)
}

/** @throws FsError EIO */
export function attributeValue(pages: IndexPages, inode: StoredInode, name: Name): Uint8Array | undefined {
  for (const attribute of attributesOf(pages, inode)) {
    if (attribute.name === name) return pages.read(attribute.at, attribute.length)
  }
  return undefined
}
