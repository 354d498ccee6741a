import {
  build,
  directoryInode,
  extendedFileInode,
  fileInode,
  inodeBase,
  run,
  withRoot,
} from '../squashfs/support/builder.ts'
import { cat, u16, u32, u64 } from '../squashfs/support/bytes.ts'

/** Directory entry types (squashfs: Directory Table). */
const DIRECTORY = 1
const FILE = 2
const SYMLINK = 3

const FILE_SIZE = 32 // of a basic file inode without blocks

/**
 * Images that follow the letter of the format where they are looked at first, and are made to trap the reader:
 * each is valid enough to be mounted or refused, and none may hang a process, crash the daemon, or take its memory.
 */
export function hostileImages(): ReadonlyMap<string, Uint8Array> {
  return new Map<string, Uint8Array>([
    ['a directory that contains itself', selfLoop()],
    ['two directories that contain each other', mutualLoop()],
    ['a directory that contains the root', rootBelow()],
    ['an entry to an inode of another type', wrongType()],
    ['an entry to the middle of an inode', middleOfInode()],
    ['an entry that leaves the inode table', outside()],
    ['a listing that is longer than its table', longListing()],
    ['the same name a thousand times', sameName()],
    ['names that are no names', badNames()],
    ['a file of 2^52 bytes without blocks', hugeFile()],
    ['a file of 16 TiB with all of its blocks zero', blockListBeyondTable()],
    ['a file whose blocks lie in the inode table', blocksInTables()],
    ['a file in a fragment that does not exist', noFragment()],
    ['a fragment that overlaps the superblock', overlappingFragment()],
    ['a symbolic link of 4 GiB', longLink()],
    ['a symbolic link to itself through the mount', linkLoop()],
    ['a value of an attribute of 4 GiB', hugeXattr()],
    ['attributes that point at themselves', xattrLoop()],
    ['a directory of sixteen levels, each with itself twice', wideLoop()],
  ])
}

/** The inode of `number` in a table where every inode before the root is a basic directory. */
function directories(count: number, listing: (i: number) => Uint8Array): Uint8Array {
  const size = 32
  const listings = Array.from({ length: count }, (_, i) => listing(i))
  let offset = 0
  const inodes = listings.map((bytes, i) => {
    const inode = directoryInode(i + 1, { size: bytes.length, offset, parent: i })
    offset += bytes.length
    if (inode.length !== size) throw new Error(`directory inode of ${inode.length} bytes`)
    return inode
  })
  return build({ inodes, root: 0, directories: cat(...listings) }).bytes
}

const to = (name: string, inode: number, type = DIRECTORY) => ({
  name,
  offset: inode * 32,
  type,
  delta: inode,
})

function selfLoop(): Uint8Array {
  return directories(1, () => run(1, [to('again', 0)]))
}

function mutualLoop(): Uint8Array {
  return directories(3, (i) => run(1, i === 0 ? [to('one', 1)] : [to('other', 3 - i)]))
}

function rootBelow(): Uint8Array {
  return directories(3, (i) => run(1, [to('down', i === 2 ? 0 : i + 1)]))
}

function wideLoop(): Uint8Array {
  return directories(16, (i) => run(1, [to('a', (i + 1) % 16), to('b', i)]))
}

function wrongType(): Uint8Array {
  const listing = run(1, [
    { name: 'file', offset: 0, type: DIRECTORY },
    { name: 'link', offset: 0, type: SYMLINK },
    { name: 'odd', offset: 0, type: 13 },
  ])
  return withRoot([fileInode(1, { size: 0 })], listing).bytes
}

function middleOfInode(): Uint8Array {
  const listing = run(
    1,
    [5, 16, 31].map((offset) => ({ name: `at${offset}`, offset, type: FILE })),
  )
  return withRoot([fileInode(1, { size: 0 })], listing).bytes
}

function outside(): Uint8Array {
  const listing = cat(
    run(1, [{ name: 'far', offset: 8191, type: FILE }]),
    run(1, [{ name: 'farther', offset: 0, type: FILE }], 0x7fff_ffff),
  )
  return withRoot([fileInode(1, { size: 0 })], listing).bytes
}

function longListing(): Uint8Array {
  const listing = run(1, [{ name: 'only', offset: 0, type: FILE }])
  const root = directoryInode(2, { size: 65_000 })
  return build({ inodes: [fileInode(1, { size: 0 }), root], directories: listing }).bytes
}

function sameName(): Uint8Array {
  const entries = Array.from({ length: 250 }, () => ({ name: 'same', offset: 0, type: FILE }))
  return withRoot([fileInode(1, { size: 0 })], cat(...[0, 1, 2, 3].map(() => run(1, entries)))).bytes
}

function badNames(): Uint8Array {
  const names = ['', '.', '..', '../../etc/passwd', 'a/b', '/', 'nul\0byte', 'z'.repeat(256)]
  const entries = names.map((name) => ({ name: name === '' ? ' ' : name, offset: 0, type: FILE }))
  return withRoot([fileInode(1, { size: 0 })], run(1, entries)).bytes
}

function hugeFile(): Uint8Array {
  const inode = extendedFileInode(1, { size: 2 ** 52, sparse: 2 ** 52 })
  return withRoot([inode], run(1, [{ name: 'huge', offset: 0, type: FILE }])).bytes
}

function blockListBeyondTable(): Uint8Array {
  const inode = extendedFileInode(1, { size: 2 ** 44, blocks: new Array<number>(600).fill(0) })
  return withRoot([inode], run(1, [{ name: 'holes', offset: 0, type: FILE }])).bytes
}

function blocksInTables(): Uint8Array {
  const stored = 0x100_0000 | 4096
  const inodes = [96, 100, 0, 2 ** 31].map((start, i) =>
    fileInode(i + 1, { start, size: 8192, blocks: [stored, stored] }),
  )
  const entries = inodes.map((_, i) => ({ name: `f${i}`, offset: i * 40, type: FILE, delta: i }))
  return withRoot(inodes, run(1, entries)).bytes
}

function noFragment(): Uint8Array {
  const inodes = [5, 0, 0xffff_fffe].map((fragment, i) =>
    fileInode(i + 1, { fragment, fragmentOffset: 4000, size: 500 }),
  )
  const entries = inodes.map((_, i) => ({ name: `f${i}`, offset: i * FILE_SIZE, type: FILE, delta: i }))
  return withRoot(inodes, run(1, entries), {
    data: new Uint8Array(300).fill(7),
    fragments: [{ start: 96, stored: 0x100_0000 | 300 }],
  }).bytes
}

function overlappingFragment(): Uint8Array {
  const inode = fileInode(1, { fragment: 0, size: 90 })
  return withRoot([inode], run(1, [{ name: 'peek', offset: 0, type: FILE }]), {
    fragments: [{ start: 0, stored: 0x100_0000 | 96 }],
  }).bytes
}

function symlinkInode(number: number, size: number, target: string): Uint8Array {
  return cat(inodeBase(3, number, 0o777), u32(1), u32(size), Buffer.from(target))
}

function longLink(): Uint8Array {
  const listing = run(1, [{ name: 'link', offset: 0, type: SYMLINK }])
  return withRoot([symlinkInode(1, 0xffff_fff0, 'short')], listing).bytes
}

function linkLoop(): Uint8Array {
  const listing = run(1, [{ name: 'link', offset: 0, type: SYMLINK }])
  return withRoot([symlinkInode(1, 6, './link')], listing).bytes
}

function withXattrs(pairs: Uint8Array, sets: readonly (readonly [bigint, number, number])[]): Uint8Array {
  const inodes = sets.map((_, i) => extendedFileInode(i + 1, { size: 0, xattr: i }))
  const entries = inodes.map((inode, i) => ({
    name: `x${i}`,
    offset: i * inode.length,
    type: FILE,
    delta: i,
  }))
  return withRoot(inodes, run(1, entries), { xattrs: { pairs, sets } }).bytes
}

function hugeXattr(): Uint8Array {
  const pairs = cat(u16(0), u16(3), Buffer.from('big'), u32(0xffff_ffff), Buffer.from('little'))
  return withXattrs(pairs, [
    [0n, 1, 12],
    [0n, 0xffff_ffff, 0xffff_ffff],
    [0xffff_ffff_0000n, 1, 12],
  ])
}

function xattrLoop(): Uint8Array {
  // Type bit 0x100: the value is a reference to where it really stands; here, to this reference.
  const pairs = cat(u16(0x100), u16(4), Buffer.from('self'), u32(8), u64(8))
  return withXattrs(pairs, [
    [0n, 1, 20],
    [0n, 2, 40],
  ])
}
