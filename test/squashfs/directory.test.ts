import { expect, test } from 'vitest'
import type { Layer } from '../../overlay/layer.ts'
import type { SquashfsImage } from '../../squashfs/image.ts'
import { FsError } from '../../src/base/index.ts'
import { build, directoryInode, fileInode, inodeBase, open, refOf, run, withRoot } from './support/builder.ts'
import { cat, text, u16, u32 } from './support/bytes.ts'

const FILE = fileInode(1, { size: 0 })

function names(image: SquashfsImage, position = 0): string[] {
  const cursor = image.openDirectory(image.root, position)
  const found: string[] = []
  for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) found.push(entry.name)
  return found
}

function eio(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof FsError && error.code === 'EIO') return error.message
    throw error
  }
  throw new Error('no error')
}

test('an image is a layer', () => {
  const layer: Layer = open(withRoot([FILE], run(1, [{ name: 'a', offset: 0, type: 2 }])))
  expect(layer.lookup(layer.root, 'a')).toEqual({ name: 'a', ref: 0, ino: 1, type: 8 })
  expect(layer.root).toBeLessThan(layer.refSpan)
  expect(layer.statfs()).toMatchObject({ blockSize: 4096, files: 2, filesFree: 0, nameMax: 256 })
})

/** 1000 files in runs of 256, 256, 3 and the rest; names with all kinds of bytes. */
const ENTRIES = Array.from({ length: 1000 }, (_, i) => ({
  name: `${String.fromCharCode(0x30 + Math.floor(i / 8))}\xff-${String(i).padStart(4, '0')}`,
  offset: 0,
  type: 2,
}))
const LISTING = cat(
  run(1, ENTRIES.slice(0, 256)),
  run(1, ENTRIES.slice(256, 512)),
  run(1, ENTRIES.slice(512, 515)),
  ...[0, 1].map((i) => run(1, ENTRIES.slice(515 + i * 243, 515 + (i + 1) * 243))),
)
const ALL = ENTRIES.map((entry) => entry.name)

test('a listing comes out in stored order and resumes at every position', () => {
  const image = open(withRoot([FILE], LISTING))
  expect(names(image)).toEqual(ALL)
  const fresh = open(withRoot([FILE], LISTING))
  const cursor = image.openDirectory(image.root, 0)
  for (let i = 0; ; i++) {
    const position = cursor.position
    const entry = cursor.next()
    const resumed = (i % 2 === 0 ? image : fresh).openDirectory(image.root, position)
    expect(resumed.position).toBe(position)
    expect(resumed.next()).toEqual(entry)
    expect(resumed.position).toBe(cursor.position)
    if (entry === undefined) break
    expect(image.lookup(image.root, entry.name)).toEqual(entry)
  }
})

test('openDirectoryAt gives the first name at or after, and its position can be resumed', () => {
  const image = open(withRoot([FILE], LISTING))
  const listed = names(image)
  for (const name of [
    '',
    '\x01',
    '0\xff-0000',
    '5\xff-',
    'zzz',
    '0\xff-0003!',
    listed[255]!,
    listed[256]!,
    `${listed[511]!}\x01`,
  ]) {
    const expected = listed.find((candidate) => candidate >= name)
    const cursor = image.openDirectoryAt(image.root, name)
    const { position } = cursor
    expect(cursor.next()?.name, name).toBe(expected)
    expect(image.openDirectory(image.root, position).next()?.name).toBe(expected)
  }
})

test('a position where no entry begins is EINVAL', () => {
  const image = open(withRoot([FILE], LISTING))
  for (const position of [1, 12, 13, LISTING.length + 1, 2 ** 40]) {
    expect(() => image.openDirectory(image.root, position)).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    )
  }
  expect(image.openDirectory(image.root, LISTING.length).next()).toBeUndefined()
})

test('names that are not there, and directories that are none', () => {
  const image = open(withRoot([FILE], LISTING))
  for (const name of ['', 'a', '0', '\xff', 'x'.repeat(257), '.', '..', '/']) {
    expect(image.lookup(image.root, name), name).toBeUndefined()
  }
  const notDirectory = expect.objectContaining({ code: 'ENOTDIR' })
  expect(() => image.lookup(0, 'a')).toThrow(notDirectory)
  expect(() => image.openDirectory(0, 0)).toThrow(notDirectory)
  expect(() => image.openDirectoryAt(0, '')).toThrow(notDirectory)
})

test('an empty directory has no entries, whatever its block field says', () => {
  const root = directoryInode(1, { size: 0, block: 0xffff_fff0, offset: 0xffff })
  const image = open(build({ inodes: [root], directories: run(1, [{ name: 'x', offset: 0, type: 2 }]) }))
  expect(names(image)).toEqual([])
  expect(image.lookup(image.root, 'x')).toBeUndefined()
})

test('a size without the surplus of 3 is read too (squashfs-tools-ng before 1.1.3)', () => {
  const listing = cat(
    run(1, [{ name: 'a', offset: 0, type: 2 }]),
    run(1, [{ name: 'b', offset: 0, type: 2 }]),
  )
  const root = directoryInode(2, { size: listing.length - 3 })
  expect(names(open(build({ inodes: [FILE, root], directories: listing })))).toEqual(['a', 'b'])
})

test('the index of an extended directory leads to the right block, for every name', () => {
  const { image, listed } = indexedImage()
  for (const name of listed) expect(image.lookup(image.root, name)?.name).toBe(name)
  for (const name of ['a', 'name-', 'name-00007x', 'name-99999', 'zz']) {
    expect(image.lookup(image.root, name)).toBeUndefined()
  }
  expect(image.openDirectoryAt(image.root, 'name-01500').next()?.name).toBe('name-01500')
  expect(names(image)).toEqual(listed)
})

test('a damaged directory index is EIO', () => {
  const far = indexedImage({ position: 0xffff_ff00 }).image
  expect(eio(() => far.lookup(far.root, 'name-01999'))).toMatch(/index entry/)
  const long = indexedImage({ nameSize: 0xffff_ffff }).image
  expect(eio(() => long.lookup(long.root, 'name-01999'))).toMatch(/index entry/)
  const outside = indexedImage({ block: 0xffff_fff0 }).image
  expect(eio(() => outside.lookup(outside.root, 'name-01999'))).toMatch(/directory table/)
})

/** 2000 entries in runs of 100, with an index entry for every third run, as if it began a block. */
function indexedImage(wrong: { position?: number; block?: number; nameSize?: number } = {}): {
  image: SquashfsImage
  listed: string[]
} {
  const listed = Array.from({ length: 2000 }, (_, i) => `name-${String(i).padStart(5, '0')}`)
  const runs: Uint8Array[] = []
  const index: Uint8Array[] = []
  let at = 0
  for (let i = 0; i < 20; i++) {
    const members = listed.slice(i * 100, (i + 1) * 100)
    if (i % 3 === 2) {
      const name = members[0]!
      index.push(
        u32(wrong.position ?? at),
        u32(wrong.block ?? Math.floor(at / 8192) * 8194),
        u32(wrong.nameSize ?? name.length - 1),
        text(name),
      )
    }
    const bytes = run(
      1,
      members.map((name) => ({ name, offset: 0, type: 2 })),
    )
    runs.push(bytes)
    at += bytes.length
  }
  const root = cat(
    inodeBase(8, 2, 0o755),
    u32(2),
    u32(at + 3),
    u32(0), // block
    u32(3),
    u16(6), // index count
    u16(0), // offset
    u32(0xffff_ffff),
    ...index,
  )
  const built = build({ inodes: [fileInode(1, { size: 0 }), root], directories: cat(...runs) })
  return { image: open(built), listed }
}

test('the order of inodes decides about loops where the root comes last', () => {
  // Inodes: child directory, then root. The child lists the root, or itself.
  const childSize = run(1, [{ name: 'up', offset: 0, type: 1 }]).length
  for (const target of [0, 32]) {
    const listing = cat(
      run(1, [{ name: 'up', offset: target, type: 1 }]),
      run(1, [{ name: 'child', offset: 0, type: 1 }]),
    )
    const child = directoryInode(1, { size: childSize })
    const root = directoryInode(2, { size: listing.length - childSize, offset: childSize })
    const image = open(build({ inodes: [child, root], directories: listing }))
    const entry = image.lookup(image.root, 'child')!
    expect(eio(() => image.lookup(entry.ref, 'up'))).toMatch(/loop/)
    expect(eio(() => image.openDirectory(entry.ref, 0).next())).toMatch(/loop/)
  }
})

test('where the root comes first, a directory with two parents is a loop, and a good tree is not', () => {
  const entry = (name: string, inode: number) => run(1, [{ name, offset: inode * 32, type: 1 }])
  const tree = (deep: number) => {
    // root (0) -> a (1) -> b (2) -> inode `deep`
    const listings = [entry('a', 1), entry('b', 2), entry('c', deep)]
    const size = listings[0]!.length
    const inodes = [0, 1, 2].map((i) => directoryInode(i + 1, { size, offset: i * size }))
    inodes.push(directoryInode(4, { size: 0 }))
    return open(build({ inodes, directories: cat(...listings), root: 0 }))
  }
  const walk = (image: SquashfsImage) => image.resolve('a/b/c')
  expect(walk(tree(3))).toBe(refOf(96))
  for (const deep of [0, 1, 2]) expect(eio(() => walk(tree(deep)))).toMatch(/loop/)
})

test('resolve finds paths and refuses what is none', () => {
  const image = open(withRoot([FILE], run(1, [{ name: 'a', offset: 0, type: 2 }])))
  expect(image.resolve('/')).toBe(image.root)
  expect(image.resolve('./a')).toBe(0)
  expect(() => image.resolve('b')).toThrow(expect.objectContaining({ code: 'ENOENT' }))
  expect(() => image.resolve('a/b')).toThrow(expect.objectContaining({ code: 'ENOTDIR' }))
  expect(() => image.resolve('a/..')).toThrow()
})
