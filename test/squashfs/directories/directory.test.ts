import { describe, expect, test } from 'vitest'
import type { Layer } from '../../../overlay/stored/layer-flags.ts'
import { DirectoryOrder } from '../../../squashfs/directories/directory-order.ts'
import type { SquashfsImage } from '../../../squashfs/image.ts'
import type { Inode } from '../../../squashfs/metadata/inode.ts'
import { DirectoryParents } from '../../../src/base/directory-parents.ts'
import { FsError } from '../../../src/base/index.ts'
import {
  build,
  directoryInode,
  fileInode,
  inodeBase,
  open,
  refOf,
  run,
  withRoot,
} from '../support/builder.ts'
import { cat, text, u16, u32 } from '../support/bytes.ts'

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

test('a squashfs image works as a layer', () => {
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

test('a listing comes in stored order and resumes at every position', () => {
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

test('openDirectoryAt finds the first name at or after a name, and its position can be resumed', () => {
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

test('resuming a listing at a position where no entry begins is EINVAL', () => {
  const image = open(withRoot([FILE], LISTING))
  for (const position of [1, 12, 13, LISTING.length + 1, 2 ** 40]) {
    expect(() => image.openDirectory(image.root, position)).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    )
  }
  expect(image.openDirectory(image.root, LISTING.length).next()).toBeUndefined()
})

test('looking up an absent name finds nothing, and a lookup in a file is ENOTDIR', () => {
  const image = open(withRoot([FILE], LISTING))
  for (const name of ['', 'a', '0', '\xff', 'x'.repeat(257), '.', '..', '/']) {
    expect(image.lookup(image.root, name), name).toBeUndefined()
  }
  const notDirectory = expect.objectContaining({ code: 'ENOTDIR' })
  expect(() => image.lookup(0, 'a')).toThrow(notDirectory)
  expect(() => image.openDirectory(0, 0)).toThrow(notDirectory)
  expect(() => image.openDirectoryAt(0, '')).toThrow(notDirectory)
})

test('an empty directory has no entries, and its block field is not used', () => {
  const root = directoryInode(1, { size: 0, block: 0xffff_fff0, offset: 0xffff })
  const image = open(build({ inodes: [root], directories: run(1, [{ name: 'x', offset: 0, type: 2 }]) }))
  expect(names(image)).toEqual([])
  expect(image.lookup(image.root, 'x')).toBeUndefined()
})

test('a directory size without the surplus of 3 is read too (squashfs-tools-ng before 1.1.3)', () => {
  const listing = cat(
    run(1, [{ name: 'a', offset: 0, type: 2 }]),
    run(1, [{ name: 'b', offset: 0, type: 2 }]),
  )
  const root = directoryInode(2, { size: listing.length - 3 })
  expect(names(open(build({ inodes: [FILE, root], directories: listing })))).toEqual(['a', 'b'])
})

test('the index of an extended directory leads to the right block for every name', () => {
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

test('a directory that lists itself or the root is a loop if the root comes last', () => {
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

/** Directories of one entry list each, and the root at the place that the writer gave it. */
function chain(levels: number, rootIsLast: boolean, entries: (level: number) => readonly string[]) {
  // Level 0 is the deepest, and empty. Where the root comes first, it is the first inode, level `levels`.
  const listings = Array.from({ length: levels + 1 }, (_, level) => {
    const below = rootIsLast ? level - 1 : levels - level + 1
    return level === 0
      ? new Uint8Array(0)
      : run(
          1,
          entries(level).map((name) => ({ name, offset: below * 32, type: 1 })),
        )
  })
  const order = rootIsLast ? [...listings.keys()] : [...listings.keys()].reverse()
  let offset = 0
  const inodes = order.map((level, number) => {
    const size = listings[level]!.length
    offset += size
    return directoryInode(number + 1, { size, offset: offset - size })
  })
  return open(
    build({
      inodes,
      directories: cat(...order.map((level) => listings[level]!)),
      root: rootIsLast ? levels : 0,
    }),
  )
}

describe.each([true, false])('directories with several names (root last: %j)', (rootIsLast) => {
  test('a directory that is listed once by its parent can be reached', () => {
    const image = chain(3, rootIsLast, (level) => [`level${level}`])
    for (let again = 0; again < 2; again++) {
      const deepest = image.resolve('level3/level2/level1')
      expect(image.openDirectory(deepest, 0).next()).toBeUndefined()
      expect(names(image)).toEqual(['level3'])
    }
  })

  test('a second entry for a directory in the same parent is refused', () => {
    const image = chain(40, rootIsLast, () => ['a', 'b'])
    expect(image.lookup(image.root, 'a')).toMatchObject({ name: 'a' })
    expect(eio(() => image.lookup(image.root, 'b'))).toMatch(/another entry names too/)
    const cursor = image.openDirectory(image.root, 0)
    expect(cursor.next()).toMatchObject({ name: 'a' })
    expect(eio(() => cursor.next())).toMatch(/another entry names too/)
    expect(image.lookup(image.root, 'a')).toMatchObject({ name: 'a' })
  })

  test('a second entry for a directory in another parent is refused, even if both share the listing', () => {
    // root -> one, two; both have the listing -> deep
    const deep = run(1, [{ name: 'deep', offset: rootIsLast ? 0 : 96, type: 1 }])
    const ofRoot = run(1, [
      { name: 'one', offset: 32, type: 1 },
      { name: 'two', offset: 64, type: 1 },
    ])
    const root = directoryInode(9, { size: ofRoot.length, offset: deep.length })
    const middle = [1, 2].map((number) => directoryInode(number, { size: deep.length }))
    const end = directoryInode(3, { size: 0 })
    const image = open(
      build({
        inodes: rootIsLast ? [end, ...middle, root] : [root, ...middle, end],
        directories: cat(deep, ofRoot),
        root: rootIsLast ? 3 : 0,
      }),
    )
    expect(image.resolve('two/deep')).toBe(refOf(rootIsLast ? 0 : 96))
    expect(eio(() => image.resolve('one/deep'))).toMatch(/another entry names too/)
  })
})

test('a directory that lists itself or an ancestor is a loop if the root comes first', () => {
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

test('beyond the limit of remembered directories, only entries that could form a loop are refused', () => {
  const directory = { ref: 10_000, inodeNumber: 1 } as Inode
  const last = new DirectoryOrder(20_000, true, 2)
  const first = new DirectoryOrder(0, false, 2)
  for (const order of [last, first]) {
    order.check(directory, 1, 32)
    order.check(directory, 2, 64)
    expect(eio(() => order.check(directory, 3, 64))).toMatch(/another entry/)
  }
  last.check(directory, 4, 96)
  last.check(directory, 5, 96)
  expect(eio(() => last.check(directory, 6, 10_032))).toMatch(/written after it/)
  expect(eio(() => first.check(directory, 4, 96))).toMatch(/for 2 directories only/)
})

test('a hundred thousand directories are told apart, also with references near the limit of the format', () => {
  const parents = new DirectoryParents()
  const refs = Array.from({ length: 100_000 }, (_, i) => (i % 2 === 0 ? i * 32 : 2 ** 45 - 1 - i * 8192))
  for (const [i, ref] of refs.entries()) expect(parents.claim(ref, i, i * 20)).toBe(true)
  expect(parents.size).toBe(refs.length)
  let unseen = 0
  for (const [i, ref] of refs.entries()) {
    if (!parents.claim(ref, i, i * 20) || !parents.has(ref)) throw new Error(`directory ${i} is lost`)
    if (parents.claim(ref, i, i * 20 + 1)) unseen += 1
    if (parents.claim(ref, i + 1, i * 20)) unseen += 1
  }
  // Expected: 0.4.
  expect(unseen).toBeLessThan(20)
  expect(parents.has(1)).toBe(false)
})

describe('numbers of entries, and names', () => {
  test('an inode number relative to a base of 0 wraps as in the kernel', () => {
    const deltas = [40_000, 70_000, 0x8000, 65_536, 5]
    const entries = deltas.map((delta, i) => ({ name: `n${i}`, offset: 0, type: 2, delta }))
    const image = open(withRoot([fileInode(77, { size: 0 })], run(0, entries)))
    const cursor = image.openDirectory(image.root, 0)
    const found = deltas.map(() => cursor.next()?.ino)
    // Where the sum is 0, which is nobody's number, the inode is asked.
    expect(found).toEqual([2 ** 32 + 40_000 - 65_536, 70_000 - 65_536, 2 ** 32 - 0x8000, 77, 5])
    expect(image.lookup(image.root, 'n0')).toMatchObject({ ino: 2 ** 32 + 40_000 - 65_536 })
  })

  test('a name that is listed twice is the first entry in every call', () => {
    const entries = [0, 1, 2].flatMap((i) => [
      { name: `name${i}`, offset: i * 32, type: 2, delta: i },
      { name: `name${i}`, offset: 96, type: 2, delta: 3 },
    ])
    // Runs that end between two of the same name, so that a header is where the second one begins.
    const listing = cat(run(1, entries.slice(0, 3)), run(1, entries.slice(3)))
    const files = [1, 2, 3, 4].map((number) => fileInode(number, { size: 0 }))
    const fresh = () => open(withRoot(files, listing))
    const image = fresh()
    expect(names(image)).toEqual(['name0', 'name1', 'name2'])
    for (const i of [0, 1, 2]) {
      expect(image.lookup(image.root, `name${i}`)?.ref).toBe(i * 32)
      expect(image.openDirectoryAt(image.root, `name${i}`).next()?.ref).toBe(i * 32)
    }
    const cursor = fresh().openDirectory(image.root, 0)
    for (const i of [0, 1, 2]) {
      expect(cursor.next()?.ref).toBe(i * 32)
      for (const some of [image, fresh()]) {
        expect(names(some, cursor.position)).toEqual(['name1', 'name2'].slice(i))
      }
    }
  })

  test('a lookup by the index finds the first entry of a name that is listed twice', () => {
    const member = (name: string, offset: number) => ({ name, offset, type: 2 })
    const first = run(1, [member('a', 0), member('m', 0)])
    const second = run(1, [member('m', 32), member('z', 0)])
    const root = cat(
      inodeBase(8, 3, 0o755),
      u32(2),
      u32(first.length + second.length + 3),
      u32(0),
      u32(3),
      u16(1),
      u16(0),
      u32(0xffff_ffff),
      cat(u32(first.length), u32(0), u32(0), text('m')),
    )
    const files = [1, 2].map((number) => fileInode(number, { size: 0 }))
    const image = open(build({ inodes: [...files, root], directories: cat(first, second) }))
    expect(image.lookup(image.root, 'm')?.ref).toBe(0)
    expect(image.openDirectoryAt(image.root, 'm').next()?.ref).toBe(0)
    expect(image.lookup(image.root, 'z')?.name).toBe('z')
    expect(names(image, first.length)).toEqual(['z'])
  })

  test('names out of order are listed as stored, with a hint to look them up', () => {
    const entries = ['b', 'c', 'a', 'c', 'd'].map((name) => ({ name, offset: 0, type: 2 }))
    const image = open(withRoot([FILE], run(1, entries)))
    const cursor = image.openDirectory(image.root, 0)
    const found = [1, 2, 3, 4].map(() => cursor.next())
    expect(found).toEqual([
      { name: 'b', ref: 0, ino: 1, type: 8 },
      { name: 'c', ref: 0, ino: 1, type: 8 },
      { name: 'a', ref: 0, ino: 1, type: 8, unsorted: true },
      { name: 'd', ref: 0, ino: 1, type: 8 },
    ])
  })
})

test('resolve finds paths and refuses malformed ones', () => {
  const image = open(withRoot([FILE], run(1, [{ name: 'a', offset: 0, type: 2 }])))
  expect(image.resolve('/')).toBe(image.root)
  expect(image.resolve('./a')).toBe(0)
  expect(() => image.resolve('b')).toThrow(expect.objectContaining({ code: 'ENOENT' }))
  expect(() => image.resolve('a/b')).toThrow(expect.objectContaining({ code: 'ENOTDIR' }))
  expect(() => image.resolve('a/..')).toThrow()
})
