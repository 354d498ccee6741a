import {
  type BuiltImage,
  build,
  directoryInode,
  extendedFileInode,
  fileInode,
  inodeBase,
  run,
} from '../squashfs/support/builder.ts'
import { cat, text, u16, u32, u64 } from '../squashfs/support/bytes.ts'

const PLAIN = 1 << 24
const NONE = 0xffff_ffff

const TARGET = text('../where it leads')
/** All types of inodes but the directories. */
const FILES = [
  fileInode(1, {
    start: 96,
    fragment: 0,
    fragmentOffset: 3,
    size: 3 * 4096 + 7,
    blocks: [PLAIN | 4096, 0, PLAIN | 9],
  }),
  extendedFileInode(2, { start: 96, size: 9000, xattr: 0, nlink: 2, blocks: [0, PLAIN | 20, 0] }),
  cat(inodeBase(3, 3), u32(1), u32(TARGET.length), TARGET),
  cat(inodeBase(10, 4), u32(1), u32(TARGET.length), TARGET, u32(1)),
  ...[4, 5].map((type) => cat(inodeBase(type, type + 1), u32(1), u32(0x0501))),
  ...[11, 12].map((type) => cat(inodeBase(type, type), u32(1), u32(0x0501), u32(0))),
  ...[6, 7].map((type) => cat(inodeBase(type, type + 1), u32(1))),
  ...[13, 14].map((type) => cat(inodeBase(type, type), u32(1), u32(0))),
]

/** All 14 types of inodes, fragments, holes, attributes in place and elsewhere; nothing compressed. */
export function richImage(): BuiltImage {
  const inodes = FILES
  const offsets = inodes.map((_, i) => inodes.slice(0, i).reduce((sum, inode) => sum + inode.length, 0))
  const types = [2, 2, 3, 3, 4, 5, 4, 5, 6, 7, 6, 7]
  const inner = run(1, [{ name: 'inner', offset: offsets[0]!, type: 2 }])
  const child = directoryInode(20, { size: inner.length })
  const childAt = inodes.reduce((sum, inode) => sum + inode.length, 0)
  const entries = offsets.map((offset, i) => ({
    name: `${String.fromCharCode(97 + i)}-name`,
    offset,
    type: types[i]!,
    delta: i,
  }))
  const outer = cat(run(1, entries), run(20, [{ name: 'sub', offset: childAt, type: 1 }]))
  const root = cat(
    inodeBase(8, 21, 0o755),
    u32(3),
    u32(outer.length + 3),
    u32(0),
    u32(0),
    u16(0),
    u16(inner.length),
    u32(1),
  )
  const pairs = cat(
    ...[u16(0), u16(5), text('first'), u32(40), new Uint8Array(40).fill(7)],
    ...[u16(0x0102), u16(6), text('second'), u32(8), u64(9)],
  )
  return build({
    data: new Uint8Array(3 * 4096),
    inodes: [...inodes, child, root],
    directories: cat(inner, outer),
    fragments: [{ start: 4192, stored: PLAIN | 200 }],
    ids: [0, 1000],
    xattrs: {
      pairs,
      sets: [
        [0n, 2, 60],
        [0n, 1, 49],
      ],
    },
  })
}

/** One inode of each type. */
export const INODES: readonly Uint8Array[] = [
  ...FILES,
  cat(inodeBase(8, 21, 0o755), u32(3), u32(300), u32(0), u32(0), u16(0), u16(9), u32(1)),
  directoryInode(20, { size: 70 }),
]

/** Five entries of a directory index. */
export const INDEX: Uint8Array = cat(
  ...['a', 'name-0100', 'name-0300', 'name-0400', 'x'].flatMap((name, i) => [
    u32(i * 1000),
    u32(0),
    u32(name.length - 1),
    text(name),
  ]),
)

/** 600 names in runs of 30, every fourth with an entry in the index of the root. */
export function indexedImage(): BuiltImage {
  const runs: Uint8Array[] = []
  const index: Uint8Array[] = []
  let at = 0
  for (let i = 0; i < 20; i += 1) {
    const names = Array.from({ length: 30 }, (_, n) => `name-${String(i * 30 + n).padStart(4, '0')}`)
    if (i % 4 === 3)
      index.push(u32(at), u32(Math.floor(at / 8192) * 8194), u32(names[0]!.length - 1), text(names[0]!))
    const bytes = run(
      1,
      names.map((name) => ({ name, offset: 0, type: 2 })),
    )
    runs.push(bytes)
    at += bytes.length
  }
  const root = cat(
    inodeBase(8, 2, 0o755),
    u32(2),
    u32(at + 3),
    u32(0),
    u32(3),
    u16(index.length / 4),
    u16(0),
    u32(NONE),
    ...index,
  )
  return build({ inodes: [fileInode(1, { size: 0 }), root], directories: cat(...runs) })
}
