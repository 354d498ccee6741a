import { expect, test } from 'vitest'
import type { SquashfsImage } from '../../squashfs/image.ts'
import { FsError } from '../../src/base/index.ts'
import {
  type BuiltImage,
  build,
  directoryInode,
  extendedFileInode,
  fileInode,
  inodeBase,
  open,
  run,
  withRoot,
} from './support/builder.ts'
import { cat, text, u16, u32, u64 } from './support/bytes.ts'
import { MemorySource, NO_CODEC, readRange } from './support/sources.ts'

const PLAIN = 1 << 24
const FILE = fileInode(1, { size: 0 })

function eio(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof FsError && error.code === 'EIO') return error.message
    throw error
  }
  throw new Error('no error')
}

function list(image: SquashfsImage): void {
  const cursor = image.openDirectory(image.root, 0)
  while (cursor.next() !== undefined);
}

test('a name longer than the format allows is EIO (squashfuse issue 153)', () => {
  const listing = run(1, [{ name: 'a', offset: 0, type: 2, nameSize: 65536 }])
  const image = open(withRoot([FILE], listing))
  expect(eio(() => list(image))).toMatch(/name of 65536 bytes/)
  expect(eio(() => image.lookup(image.root, 'a'))).toMatch(/name of 65536/)
})

test('a name longer than the rest of the listing is EIO', () => {
  const image = open(withRoot([FILE], run(1, [{ name: 'a', offset: 0, type: 2, nameSize: 200 }])))
  expect(eio(() => list(image))).toMatch(/name of 200 bytes/)
})

test('a uid, fragment or xattr index beyond its table is EIO (squashfuse issue 154)', () => {
  const listing = run(1, [{ name: 'a', offset: 0, type: 2 }])
  const uid = open(
    withRoot([cat(inodeBase(2, 1, 0o644, 9), u32(0), u32(0xffff_ffff), u32(0), u32(0))], listing),
  )
  expect(eio(() => uid.stat(0))).toMatch(/uid index 9/)
  const fragment = open(
    withRoot([fileInode(1, { fragment: 7, size: 10 })], listing, {
      fragments: [{ start: 96, stored: PLAIN | 9 }],
    }),
  )
  expect(eio(() => read(fragment, 10))).toMatch(/fragment table: index 7/)
  const none = open(withRoot([fileInode(1, { fragment: 0, size: 10 })], listing))
  expect(eio(() => read(none, 10))).toMatch(/no fragments/)
  const xattr = open(
    withRoot([extendedFileInode(1, { size: 0, xattr: 3 })], listing, {
      xattrs: { pairs: text('\0\0\0\0\0\0\0\0'), sets: [[0n, 1, 8]] },
    }),
  )
  expect(eio(() => xattr.stat(0))).toMatch(/xattr id table: index 3/)
})

test('a fragment index equal to the count is EIO (squashfs-tools issue 408)', () => {
  const image = open(
    withRoot([fileInode(1, { fragment: 1, size: 10 })], run(1, [{ name: 'a', offset: 0, type: 2 }]), {
      data: new Uint8Array(100),
      fragments: [{ start: 96, stored: PLAIN | 100 }],
    }),
  )
  expect(eio(() => read(image, 10))).toMatch(/index 1, but it has 1/)
})

test('an inode reference past the decoded block is EIO (squashfuse issue 158)', () => {
  for (const offset of [300, 8191, 8192, 65535]) {
    const image = open(withRoot([FILE], run(1, [{ name: 'a', offset, type: 2 }])))
    expect(eio(() => image.stat(image.lookup(image.root, 'a')!.ref))).toMatch(/offset|reference/)
  }
  const block = open(withRoot([FILE], run(1, [{ name: 'a', offset: 0, type: 2 }], 0xffff_0000)))
  expect(eio(() => list(block))).toMatch(/outside the inode table/)
  const directory = directoryInode(2, { size: 30, offset: 8000 })
  const listing = open(
    build({ inodes: [FILE, directory], directories: run(1, [{ name: 'a', offset: 0, type: 2 }]) }),
  )
  expect(eio(() => list(listing))).toMatch(/offset 8000/)
})

test('a tail end outside its fragment is EIO (squashfs-tools issue 398)', () => {
  const listing = run(1, [{ name: 'a', offset: 0, type: 2 }])
  const spec = { data: new Uint8Array(4096), fragments: [{ start: 96, stored: PLAIN | 200 }] }
  const beyond = open(
    withRoot([fileInode(1, { fragment: 0, fragmentOffset: 4090, size: 10 })], listing, spec),
  )
  expect(eio(() => read(beyond, 10))).toMatch(/tail end 4090\+10 exceeds/)
  const wrapping = open(
    withRoot([fileInode(1, { fragment: 0, fragmentOffset: 0xffff_ffff, size: 10 })], listing, spec),
  )
  expect(eio(() => read(wrapping, 10))).toMatch(/exceeds/)
  // Within the block size, but past what the fragment decodes to: whoever decodes must notice.
  const built = withRoot([fileInode(1, { fragment: 0, fragmentOffset: 195, size: 10 })], listing, spec)
  expect(eio(() => readRange(open(built), new MemorySource(built.bytes), NO_CODEC, 0, 0, 10))).toMatch(
    /200 bytes/,
  )
  const outside = open(
    withRoot([fileInode(1, { fragment: 0, size: 10 })], listing, {
      fragments: [{ start: 2 ** 40, stored: PLAIN | 9 }],
    }),
  )
  expect(eio(() => read(outside, 10))).toMatch(/outside the data area/)
})

test.each(['/', 'a/b', '..', '.', 'a\0b'])(
  'the name %j in a listing is EIO (squashfs-tools issue 50)',
  (name) => {
    const image = open(withRoot([FILE], run(1, [{ name, offset: 0, type: 2 }])))
    expect(eio(() => list(image))).toMatch(/name/)
    expect(eio(() => image.lookup(image.root, name))).toMatch(/name/)
  },
)

test('a directory header with too many entries and a wrong entry type are EIO', () => {
  const entry = { name: 'a', offset: 0, type: 2 }
  expect(eio(() => list(open(withRoot([FILE], run(1, [entry], 0, 257)))))).toMatch(/257 entries/)
  expect(eio(() => list(open(withRoot([FILE], run(1, [entry], 0, 2)))))).toMatch(/EIO|listing|past the end/)
  for (const type of [0, 8, 9, 0xffff]) {
    expect(eio(() => list(open(withRoot([FILE], run(1, [{ ...entry, type }])))))).toMatch(/entry type/)
  }
})

test('a root that is no directory and a root that is missing are EIO', () => {
  const listing = run(1, [{ name: 'a', offset: 0, type: 2 }])
  expect(eio(() => open(build({ inodes: [FILE], directories: listing })))).toMatch(
    /root inode is no directory/,
  )
  const good = withRoot([FILE], listing)
  const moved = good.bytes.slice()
  moved.set(u16(4000), 32)
  expect(eio(() => open({ ...good, bytes: moved }))).toMatch(/offset 4000/)
})

function read(image: SquashfsImage, length: number): void {
  image.extents(0, 0, length, { hole() {}, block() {}, file() {} })
}

/** An image with a bit of everything. */
const RICH: BuiltImage = (() => {
  const listing = run(1, [
    { name: 'attributes', offset: 0, type: 2, delta: 0 },
    { name: 'blocks', offset: 56, type: 2, delta: 1 },
    { name: 'link', offset: 104, type: 3, delta: 2 },
    { name: 'sub', offset: 132, type: 1, delta: 3 },
  ])
  const pairs = cat(
    u16(0),
    u16(1),
    text('a'),
    u32(3),
    text('abc'),
    u16(0x101),
    u16(1),
    text('b'),
    u32(8),
    u64(5),
  )
  const inodes = [
    extendedFileInode(1, { size: 0, xattr: 0 }),
    fileInode(2, {
      start: 96,
      fragment: 0,
      size: 3 * 4096 + 9,
      blocks: [PLAIN | 4096, 0, PLAIN | 4096],
    }).slice(),
    cat(inodeBase(3, 3, 0o777), u32(1), u32(4), text('dest')),
    directoryInode(4, { size: 0 }),
    directoryInode(5, { size: listing.length }),
  ]
  // Twelve bytes of block list end the second inode: 56 + 44 = 100; four bytes of padding make it 104.
  inodes[1] = cat(inodes[1]!, u32(0))
  return build({
    data: new Uint8Array(2 * 4096 + 64).fill(65),
    inodes,
    directories: listing,
    fragments: [{ start: 96 + 8192, stored: PLAIN | 64 }],
    xattrs: { pairs, sets: [[0n, 2, pairs.length]] },
  })
})()

/** Looks at everything there is; returns how much was found. */
function walkAll(image: SquashfsImage, source: MemorySource): number {
  let found = 0
  const guard = (action: () => void): void => {
    try {
      action()
      found += 1
    } catch (error) {
      if (!(error instanceof FsError)) throw error
    }
  }
  const visit = (ref: number, depth: number): void => {
    guard(() => image.stat(ref))
    guard(() => {
      for (const name of image.listxattr(ref)) image.getxattr(ref, name)
    })
    guard(() => image.readlink(ref))
    guard(() => readRange(image, source, NO_CODEC, ref, 0, 20_000))
    guard(() => image.seek(ref, 0, 'data'))
    guard(() => image.openDirectoryAt(ref, 'c').next())
    guard(() => {
      const cursor = image.openDirectory(ref, 0)
      for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
        const { name, ref: child } = entry
        guard(() => image.lookup(ref, name))
        guard(() => image.openDirectory(ref, cursor.position))
        expect(depth).toBeLessThan(10)
        visit(child, depth + 1)
      }
    })
  }
  visit(image.root, 0)
  return found
}

test('a single damaged byte causes no error but a file system error', () => {
  const whole = walkAll(open(RICH), new MemorySource(RICH.bytes))
  expect(whole).toBeGreaterThan(15)
  const metadataStart = 96 + 8192 + 64
  let opened = 0
  for (let at = 0; at < RICH.bytes.length; at++) {
    if (at >= 96 && at < metadataStart) continue
    for (const flip of [0x01, 0x80, 0xff]) {
      const bytes = RICH.bytes.slice()
      bytes[at] = bytes[at]! ^ flip
      let image: SquashfsImage
      try {
        image = open({ ...RICH, bytes })
      } catch (error) {
        expect(error).toBeInstanceOf(FsError)
        continue
      }
      opened += 1
      walkAll(image, new MemorySource(bytes))
    }
  }
  expect(opened).toBeGreaterThan(100)
})

test('every truncation of an image is refused at once', () => {
  for (let length = 0; length < RICH.bytes.length; length += 1) {
    expect(() => open({ ...RICH, bytes: RICH.bytes.subarray(0, length) })).toThrow(FsError)
  }
})
