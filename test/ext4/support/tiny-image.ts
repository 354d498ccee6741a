/** An ext2 file system of 16 blocks of 1 KiB, byte by byte: a root with a file, a link and an empty directory. */

export const BLOCK = 1024
const BLOCKS = 16
const INODES = 16
const INODE_SIZE = 128
const [GROUPS, INODE_TABLE, ROOT_BLOCK, FILE_BLOCK, EMPTY_BLOCK, ATTRIBUTES] = [2, 3, 5, 6, 7, 8]
const [ROOT, FILE, LINK, EMPTY] = [2, 12, 13, 14]

export const CONTENT = Buffer.from('the content of a file\n')

interface InodeFields {
  readonly mode: number
  readonly size: number
  readonly nlink: number
  /** Of `i_block`. */
  readonly words?: readonly number[]
  readonly text?: string
  readonly attributes?: number
}

export function tinyImage(): Buffer {
  const image = Buffer.alloc(BLOCKS * BLOCK)
  const superblock: readonly (readonly [number, number])[] = [
    [0x00, INODES],
    [0x04, BLOCKS],
    [0x14, 1],
    [0x18, 0],
    [0x20, 8192],
    [0x24, 8192],
    [0x28, INODES],
    // The magic number, and that it is clean.
    [0x38, 0x1_ef53],
    [0x4c, 1],
    [0x54, 11],
    [0x58, INODE_SIZE],
    [0x5c, 0x8],
    [0x60, 0x2],
    [0x64, 0x1],
  ]
  for (const [at, value] of superblock) image.writeUInt32LE(value, BLOCK + at)
  image.writeUInt32LE(INODE_TABLE, GROUPS * BLOCK + 8)
  const entries = [
    ['.', ROOT, 2],
    ['..', ROOT, 2],
    ['file', FILE, 1],
    ['link', LINK, 7],
    ['empty', EMPTY, 2],
  ] as const
  putEntries(image, ROOT_BLOCK, entries)
  putEntries(image, EMPTY_BLOCK, [
    ['.', EMPTY, 2],
    ['..', ROOT, 2],
  ])
  CONTENT.copy(image, FILE_BLOCK * BLOCK)
  putInode(image, ROOT, { mode: 0o040755, size: BLOCK, nlink: 3, words: [ROOT_BLOCK] })
  putInode(image, FILE, {
    mode: 0o100644,
    size: CONTENT.length,
    nlink: 1,
    words: [FILE_BLOCK],
    attributes: ATTRIBUTES,
  })
  putInode(image, LINK, { mode: 0o120777, size: 4, nlink: 1, text: 'file' })
  putInode(image, EMPTY, { mode: 0o040700, size: BLOCK, nlink: 2, words: [EMPTY_BLOCK] })
  putAttributes(image)
  return image
}

function putInode(image: Buffer, number: number, fields: InodeFields): void {
  const at = INODE_TABLE * BLOCK + (number - 1) * INODE_SIZE
  image.writeUInt16LE(fields.mode, at)
  image.writeUInt32LE(fields.size, at + 4)
  image.writeUInt16LE(fields.nlink, at + 0x1a)
  for (const [i, word] of (fields.words ?? []).entries()) image.writeUInt32LE(word, at + 0x28 + i * 4)
  image.write(fields.text ?? '', at + 0x28, 'latin1')
  image.writeUInt32LE(fields.attributes ?? 0, at + 0x68)
}

function putEntries(
  image: Buffer,
  block: number,
  entries: readonly (readonly [string, number, number])[],
): void {
  let at = block * BLOCK
  for (const [i, [name, inode, type]] of entries.entries()) {
    const isLast = i === entries.length - 1
    const length = isLast ? (block + 1) * BLOCK - at : Math.ceil((8 + name.length) / 4) * 4
    image.writeUInt32LE(inode, at)
    image.writeUInt16LE(length, at + 4)
    image.writeUInt8(name.length, at + 6)
    image.writeUInt8(type, at + 7)
    image.write(name, at + 8, 'latin1')
    at += length
  }
}

/** `user.a` = `value`, and an access list of one named user. */
function putAttributes(image: Buffer): void {
  const at = ATTRIBUTES * BLOCK
  image.writeUInt32LE(0xea02_0000, at)
  image.writeUInt32LE(1, at + 4)
  image.writeUInt32LE(1, at + 8)
  const entries = [
    [1, 'a', Buffer.from('value')],
    [2, '', Buffer.from('01000000010006000200060005000000040004001000060020000400', 'hex')],
  ] as const
  let entry = at + 32
  let value = at + BLOCK
  for (const [index, name, bytes] of entries) {
    value -= Math.ceil(bytes.length / 4) * 4
    bytes.copy(image, value)
    image.writeUInt8(name.length, entry)
    image.writeUInt8(index, entry + 1)
    image.writeUInt16LE(value - at, entry + 2)
    image.writeUInt32LE(bytes.length, entry + 8)
    image.write(name, entry + 16, 'latin1')
    entry += Math.ceil((16 + name.length) / 4) * 4
  }
}
