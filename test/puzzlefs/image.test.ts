import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { PuzzleImage } from '../../puzzlefs/image.ts'
import { PUZZLEFS } from '../../puzzlefs/kind.ts'
import { FsError, majorOf, minorOf } from '../../src/base/index.ts'
import { memorySource } from '../ext4/support/describe.ts'
import { stored } from './support/chunks.ts'
import type { Segmentation } from './support/message-builder.ts'
import { buildRootfs, type InodeDefinition, type RootfsDefinition, TAGS } from './support/rootfs-builder.ts'
import { openPuzzle, type WalkedFile, walkPuzzle } from './support/walk.ts'

const HELLO = stored(Buffer.from('hello\n'))
const NOISE = stored(randomBytes(50_000))
const STORE = new Map([HELLO, NOISE].map(({ hex, bytes }) => [hex, bytes]))
const TABLE = [HELLO, NOISE]
  .sort((a, b) => Buffer.compare(a.digest, b.digest))
  .map(({ digest, verity }) => [digest, verity] as const)

const piece = (chunk: typeof HELLO, length: number, offset = 0) => ({ digest: chunk.digest, length, offset })
const directory = (ino: number, entries: InodeDefinition['entries']): InodeDefinition => ({
  ino,
  tag: TAGS.dir,
  permissions: 0o755,
  entries: entries ?? [],
})

/** A root directory with these entries, and inodes. */
function image(
  entries: InodeDefinition['entries'],
  inodes: readonly InodeDefinition[],
  more: Partial<RootfsDefinition> = {},
): Buffer {
  return buildRootfs({ layers: [[directory(1, entries), ...inodes]], chunks: TABLE, ...more })
}

const ALL_KINDS: readonly InodeDefinition[] = [
  { ino: 2, tag: TAGS.file, permissions: 0o4755, uid: 0xffff_fffe, gid: 7, chunks: [piece(HELLO, 6)] },
  { ino: 3, tag: TAGS.fifo },
  { ino: 5, tag: TAGS.chr, device: [1, 3], permissions: 0o666 },
  { ino: 6, tag: TAGS.blk, device: [259, 300_000] },
  { ino: 7, tag: TAGS.lnk, permissions: 0o777, target: 'over/there' },
  { ino: 8, tag: TAGS.sock },
  {
    ino: 9,
    tag: TAGS.file,
    chunks: [piece(NOISE, 20_000, 10_000), piece(HELLO, 0), piece(HELLO, 3, 2)],
    xattrs: [
      ['user.z', ''],
      ['security.capability', 'cap'],
    ],
  },
  { ino: 10, tag: TAGS.file, chunks: [] },
  directory(11, [['.wh.a', 2]]),
]
const ALL_NAMES: InodeDefinition['entries'] = [
  ['dir', 11],
  ['empty', 10],
  ['fifo', 3],
  ['hello', 2],
  ['null', 5],
  ['disk', 6],
  ['link', 7],
  ['sock', 8],
  ['text', 9],
]

function shown(rootfs: Buffer): Readonly<Record<string, WalkedFile>> {
  return Object.fromEntries(
    walkPuzzle(memorySource(rootfs), STORE).map((file) => {
      if ('error' in file) throw new Error(`${file.path}: ${file.error}`)
      return [file.path, file]
    }),
  )
}

const names = (rootfs: Buffer): readonly string[] =>
  walkPuzzle(memorySource(rootfs), STORE).map(({ path }) => path)

function errorOf(action: () => unknown): string {
  try {
    action()
    return 'none'
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    return `${error.code} ${error.message}`
  }
}

describe('a PuzzleFS image', () => {
  test.each<Segmentation>(['one', 'far', 'double far'])(
    'shows every kind of file with all attributes, in a message of segments joined by: %s',
    (segmentation) => {
      const files = shown(image(ALL_NAMES, ALL_KINDS, { segmentation }))
      expect(files['/hello']?.stat).toMatchObject({
        mode: 0o104755,
        uid: 0xffff_fffe,
        gid: 7,
        size: 6,
        nlink: 2,
      })
      expect(files['/hello']?.sha256).toBe(HELLO.hex)
      expect(files['/dir/.wh.a']?.stat.ino).toBe(2)
      expect(files['/null']?.stat).toMatchObject({ mode: 0o020666, nlink: 1 })
      expect([majorOf(files['/null']?.stat.rdev ?? 0), minorOf(files['/null']?.stat.rdev ?? 0)]).toEqual([
        1, 3,
      ])
      expect([majorOf(files['/disk']?.stat.rdev ?? 0), minorOf(files['/disk']?.stat.rdev ?? 0)]).toEqual([
        259, 300_000,
      ])
      expect(files['/link']).toMatchObject({ target: 'over/there', stat: { size: 10 } })
      expect(files['/text']?.sha256).toBe(
        stored(Buffer.concat([NOISE.bytes.subarray(10_000, 30_000), HELLO.bytes.subarray(2, 5)])).hex,
      )
      expect(files['/text']?.xattrs).toEqual({ 'user.z': '', 'security.capability': '636170' })
      expect(files['/empty']?.stat).toMatchObject({ size: 0, blocks: 0, mtime: 0 })
      expect(files['']?.stat.nlink).toBe(3)
      expect(Object.keys(files)).toHaveLength(11)
    },
  )

  test('the first layer of metadata that has a number explains it; deleted names are not shown', () => {
    const rootfs = buildRootfs({
      chunks: TABLE,
      layers: [
        [
          directory(1, [
            ['gone', 2],
            ['back', 3],
            ['kept', 4],
          ]),
          { ino: 2, tag: TAGS.wht },
          { ino: 3, tag: TAGS.wht },
          { ino: 3, tag: TAGS.file, chunks: [] },
        ],
        [
          directory(1, [['old', 2]]),
          { ino: 2, tag: TAGS.file, chunks: [piece(HELLO, 6)] },
          { ino: 4, tag: TAGS.fifo },
        ],
      ],
    })
    expect(names(rootfs)).toEqual(['', '/back', '/kept'])
    const { image: layer } = openPuzzle(memorySource(rootfs))
    expect(layer.lookup(layer.root, 'gone')).toBeUndefined()
    expect(layer.lookup(layer.root, 'old')).toBeUndefined()
    expect(layer.statfs()).toMatchObject({ files: 3, nameMax: 255 })
  })

  test('names that no file can have are hidden, which one line tells, and of equal names the first one counts', () => {
    const entries = ['', '.', '..', 'a/b', 'a\0b', 'x'.repeat(256), 'b', 'a', 'b'].map(
      (name, i) => [name, i === 8 ? 3 : 2] as const,
    )
    const rootfs = image(entries, [
      { ino: 2, tag: TAGS.fifo },
      { ino: 3, tag: TAGS.sock },
    ])
    const warnings: string[] = []
    const warn = (message: string): void => void warnings.push(message)
    const layer = new PuzzleImage({ source: memorySource(rootfs), sourceId: 0, label: 'image', warn })
    expect(layer.stat(layer.root).nlink).toBe(2)
    expect(layer.statfs().files).toBe(3)
    expect(warnings).toEqual(['6 names that no file can have are not shown'])
    expect(PUZZLEFS.summarize(memorySource(rootfs)).remark).toBe(warnings[0])
    expect(layer.lookup(layer.root, 'b')?.ino).toBe(2)
    const cursor = layer.openDirectory(layer.root, 0)
    expect([cursor.next(), cursor.next(), cursor.next(), cursor.next()]).toMatchObject([
      { name: 'b', ino: 2 },
      { name: 'a', unsorted: true },
      { name: 'b', ino: 3, unsorted: true },
      undefined,
    ])
  })

  test('a name without an inode is not listed, and EIO when it is looked up; others can be read', () => {
    const rootfs = image(
      [
        ['a', 2],
        ['b', 77],
        ['c', 2n ** 60n],
      ],
      [{ ino: 2, tag: TAGS.fifo }],
    )
    const { image: layer } = openPuzzle(memorySource(rootfs))
    expect(names(rootfs)).toEqual(['', '/a'])
    expect(errorOf(() => layer.lookup(layer.root, 'b'))).toMatch(
      /^EIO image: directory 0: "b" has no inode 77/,
    )
    expect(errorOf(() => layer.lookup(layer.root, 'c'))).toMatch(/^EIO/)
    expect(layer.lookup(layer.root, 'nothing')).toBeUndefined()
  })

  test('what is wrong with one inode is EIO for that one alone', () => {
    const broken: readonly InodeDefinition[] = [
      { ino: 2, tag: TAGS.unknown },
      { ino: 3, tag: 42 },
      { ino: 4, tag: TAGS.chr, device: [2n ** 40n, 1] },
      { ino: 5, tag: TAGS.file, chunks: [{ digest: HELLO.digest, length: 2n ** 60n }] },
      { ino: 6, tag: TAGS.file, chunks: [{ digest: Buffer.alloc(31), length: 1 }] },
      { ino: 7, tag: TAGS.file, chunks: [{ digest: Buffer.alloc(32), length: 1 }] },
      { ino: 8, tag: TAGS.file, chunks: [piece(HELLO, 7)] },
      { ino: 9, tag: TAGS.lnk },
      { ino: 10, tag: TAGS.lnk, target: 'a\0b' },
      { ino: 11, tag: TAGS.file, permissions: 0xffff, chunks: [] },
    ]
    const rootfs = image(
      broken.map(({ ino }) => [`n${ino}`, ino] as const),
      broken,
    )
    const found = walkPuzzle(memorySource(rootfs), STORE)
    const errors = found.filter((file) => 'error' in file).map(({ path }) => path)
    expect(errors).toEqual(['/n10', '/n2', '/n3', '/n4', '/n5', '/n6', '/n7', '/n8', '/n9'])
    expect(found.find(({ path }) => path === '/n11')).toMatchObject({ stat: { mode: 0o107777 } })
  })

  test('a directory that is to be merged with one below is refused with the reason', () => {
    const rootfs = image([['d', 2]], [{ ino: 2, tag: TAGS.dir, entries: [], lookBelow: true }])
    const { image: layer } = openPuzzle(memorySource(rootfs))
    const { ref } = layer.lookup(layer.root, 'd')!
    expect(errorOf(() => layer.openDirectory(ref, 0))).toMatch(
      /^EOPNOTSUPP image: directory 1 is to be merged/,
    )
    expect(layer.stat(ref).nlink).toBe(2)
  })

  test.each([
    [
      'another version',
      { version: 2, layers: [[directory(1, [])]] },
      /^EINVAL image: PuzzleFS image of version 2, expected 3/,
    ],
    ['no layer of metadata', { layers: [] }, /^EIO image: no layer of metadata/],
    ['an empty layer', { layers: [[]] }, /^EIO image: no root directory/],
    [
      'a root that is a file',
      { layers: [[{ ino: 1, tag: TAGS.file, chunks: [] }]] },
      /^EIO image: the root is no directory/,
    ],
  ])('%s is refused', (_, definition, message) => {
    expect(errorOf(() => openPuzzle(memorySource(buildRootfs(definition))))).toMatch(message)
  })

  test('a directory in itself does not keep the count of links from ending', () => {
    const files = walkPuzzle(
      memorySource(
        image(
          [['d', 2]],
          [
            directory(2, [
              ['self', 2],
              ['up', 1],
            ]),
          ],
        ),
      ),
      STORE,
      { names: 50, fileBytes: 0 },
    )
    expect(files[0]).toMatchObject({ stat: { nlink: 3 } })
  })

  test('a directory of thousands of names in any order is searched by an index', () => {
    const many = Array.from({ length: 5000 }, (_, i) => [`name ${(i * 7919) % 5000}`, 2] as const)
    const { image: layer } = openPuzzle(memorySource(image(many, [{ ino: 2, tag: TAGS.fifo }])))
    for (const [name] of many) expect(layer.lookup(layer.root, name)?.name).toBe(name)
    expect(layer.lookup(layer.root, 'name 5000')).toBeUndefined()
    expect(layer.stat(layer.lookup(layer.root, 'name 1')!.ref).nlink).toBe(5000)
  })

  test('every proper prefix of an image is refused, or reads as the image as far as it goes', () => {
    const rootfs = image(ALL_NAMES, ALL_KINDS, { segmentation: 'far' })
    for (let length = 0; length < rootfs.length; length += 8) {
      expect(errorOf(() => openPuzzle(memorySource(rootfs.subarray(0, length))))).toMatch(/^EIO/)
    }
  })
})
