import { describe, expect, test } from 'vitest'
import { failsWith } from '../library/expectations.ts'
import {
  directoryInode,
  extendedFileInode,
  fileInode,
  inodeBase,
  open,
  run,
  withRoot,
} from './support/builder.ts'
import { cat, text, u16, u32 } from './support/bytes.ts'

const NO_XATTR = u32(0xffff_ffff)
const LISTING = run(1, [{ name: 'f', offset: 0, type: 2 }])

function symlink(number: number, target: string): Uint8Array {
  return cat(inodeBase(3, number), u32(1), u32(target.length), text(target))
}

/** @param entries of its index, without names of more than one byte */
function extendedDirectory(number: number, entries = 0): Uint8Array {
  const index = Array.from({ length: entries }, () => cat(u32(0), u32(0), u32(0), text('a')))
  return cat(
    ...[inodeBase(8, number, 0o755), u32(2), u32(3), u32(0), u32(1)],
    ...[u16(entries), u16(0), NO_XATTR, ...index],
  )
}

/** One inode of every kind that is no file, with what stands behind its fixed fields. */
const OTHERS: readonly ((number: number) => Uint8Array)[] = [
  (number) => directoryInode(number, { size: 0 }),
  (number) => extendedDirectory(number),
  (number) => symlink(number, 'target'),
  (number) => cat(inodeBase(10, number), u32(1), u32(3), text('far'), NO_XATTR),
  (number) => cat(inodeBase(4, number), u32(1), u32(0x0801)),
  (number) => cat(inodeBase(5, number), u32(1), u32(0x0103)),
  (number) => cat(inodeBase(11, number), u32(1), u32(0x0801), NO_XATTR),
  (number) => cat(inodeBase(12, number), u32(1), u32(0x0103), NO_XATTR),
  (number) => cat(inodeBase(6, number), u32(1)),
  (number) => cat(inodeBase(7, number), u32(1)),
  (number) => cat(inodeBase(13, number), u32(1), NO_XATTR),
  (number) => cat(inodeBase(14, number), u32(1), NO_XATTR),
]

/** A file of so many whole blocks, with a block list of holes. */
function file(number: number, blocks: number): Uint8Array {
  const list = Array.from({ length: blocks }, () => 0)
  const shape = { size: blocks * 4096, blocks: list }
  return number % 2 === 0 ? fileInode(number, shape) : extendedFileInode(number, shape)
}

describe('the file that is stored behind another one', () => {
  test('is found past inodes of all kinds, also where one lies in two metadata blocks', () => {
    const inodes: Uint8Array[] = []
    const files: number[] = []
    for (let round = 0; round < 40; round++) {
      files.push(inodes.length)
      inodes.push(file(inodes.length + 1, round))
      for (const other of OTHERS) inodes.push(other(inodes.length + 1))
    }
    const built = withRoot(inodes, LISTING)
    // More than two blocks of the inode table.
    expect(built.refs.at(-1)).toBeGreaterThan(2 * 8192 * 8192)
    const layer = open(built)
    const found: (number | undefined)[] = [built.refs[0]]
    for (let ref = built.refs[0]; ref !== undefined; found.push(ref)) ref = layer.following(ref)
    expect(found).toEqual([...files.map((at) => built.refs[at]), undefined])
    // The same from a fresh reader each time, which knows no inode.
    const next = files.map((at) => open(built).following(built.refs[at] ?? -1))
    expect(next).toEqual(found.slice(1))
  })

  test('is not looked for behind much else: a long block list, an index, many inodes', () => {
    const behind = (...between: Uint8Array[]): number | undefined => {
      const built = withRoot([...between, file(500, 1)], LISTING)
      return open(built).following(built.refs[0] ?? -1)
    }
    expect(behind(file(2, 1024))).toBeDefined()
    expect(behind(file(2, 1025))).toBeUndefined()
    expect(behind(file(2, 1), extendedDirectory(3))).toBeDefined()
    expect(behind(file(2, 1), extendedDirectory(3, 1))).toBeUndefined()
    const links = (count: number): Uint8Array[] =>
      Array.from({ length: count }, (_, i) => symlink(i + 10, 'x'))
    expect(behind(file(2, 1), ...links(63))).toBeDefined()
    expect(behind(file(2, 1), ...links(64))).toBeUndefined()
  })

  test('is EIO where its inode is damaged', () => {
    const built = withRoot([file(2, 1), inodeBase(0, 3)], LISTING)
    failsWith('EIO', () => open(built).following(built.refs[0] ?? -1))
  })
})
