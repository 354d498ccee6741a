import { expect, test } from 'vitest'
import { decodeInode, type Inode } from '../../../squashfs/metadata/inode.ts'
import { MetadataCache } from '../../../squashfs/metadata/metadata-cache.ts'
import { MetadataCursor } from '../../../squashfs/metadata/metadata-cursor.ts'
import { MetadataReader } from '../../../squashfs/metadata/metadata-reader.ts'
import { MetadataTable } from '../../../squashfs/metadata/metadata-table.ts'
import { FsError } from '../../../src/base/index.ts'
import { metadata } from '../support/builder.ts'
import { cat, text, u16, u32, u64 } from '../support/bytes.ts'
import { MemorySource, NO_CODEC } from '../support/sources.ts'

const IDS = Uint32Array.of(1000, 70_000)

/** Decodes a record that stands `lead` bytes into the table, so that it may cross a block boundary. */
function decode(record: Uint8Array, lead = 0): Inode {
  const bytes = metadata(cat(new Uint8Array(lead), record))
  const reader = new MetadataReader(new MemorySource(bytes), NO_CODEC, new MetadataCache(), 'img')
  const table = new MetadataTable(reader, 0, bytes.length, 'inode table')
  return decodeInode(new MetadataCursor(table, 0, lead), 42, { ids: IDS, blockSize: 4096 })
}

function failure(record: Uint8Array): FsError {
  try {
    decode(record)
  } catch (error) {
    if (error instanceof FsError) return error
    throw error
  }
  throw new Error('decoded')
}

function base(type: number): Uint8Array {
  return cat(
    u16(type),
    u16(0o4751), // permissions
    u16(1), // uid index
    u16(0), // gid index
    u32(3_000_000_000), // mtime, past 2038
    u32(77), // inode number
  )
}

const BASIC_DIRECTORY = cat(u32(0x0102), u32(5), u16(0x7b), u16(0x21), u32(76))
const EXTENDED_DIRECTORY = cat(u32(5), u32(70_001), u32(0x0102), u32(76), u16(2), u16(0x21), u32(9))
const BASIC_FILE = cat(u32(0x1234), u32(3), u32(100), u32(4097), u32(4000))
const EXTENDED_FILE = cat(
  u64(0x1_0000_0007n), // blocks start
  u64(8193), // file size
  u64(4096), // sparse
  u32(2), // link count
  u32(4), // fragment index
  u32(11), // fragment offset
  u32(6), // xattr index
  u32(4000), // block sizes
  u32(0),
)
const LINK = cat(u32(3), u32(6), text('../etc'))
const DEVICE = cat(u32(1), u32(0x0010_0803))
const IPC = u32(8)
const XATTR = u32(13)

const INODES: readonly (readonly [string, Uint8Array, Partial<Inode>])[] = [
  [
    'basic directory',
    cat(base(1), BASIC_DIRECTORY),
    { mode: 0o044751, nlink: 5, size: 0x7b, directoryBlock: 0x0102, directoryOffset: 0x21, parentInode: 76 },
  ],
  [
    'basic file',
    cat(base(2), BASIC_FILE),
    { mode: 0o104751, nlink: 1, size: 4097, blocksStart: 0x1234, fragmentIndex: 3, fragmentOffset: 100 },
  ],
  ['basic symlink', cat(base(3), LINK), { mode: 0o124751, nlink: 3, size: 6 }],
  ['basic block device', cat(base(4), DEVICE), { mode: 0o064751, rdev: 0x0010_0803 }],
  ['basic character device', cat(base(5), DEVICE), { mode: 0o024751, rdev: 0x0010_0803 }],
  ['basic fifo', cat(base(6), IPC), { mode: 0o014751, nlink: 8 }],
  ['basic socket', cat(base(7), IPC), { mode: 0o144751, nlink: 8 }],
  [
    'extended directory',
    cat(base(8), EXTENDED_DIRECTORY),
    {
      mode: 0o044751,
      nlink: 5,
      size: 70_001,
      directoryBlock: 0x0102,
      directoryOffset: 0x21,
      parentInode: 76,
      indexCount: 2,
      xattrIndex: 9,
    },
  ],
  [
    'extended file',
    cat(base(9), EXTENDED_FILE),
    {
      mode: 0o104751,
      nlink: 2,
      size: 8193,
      sparse: 4096,
      blocksStart: 0x1_0000_0007,
      fragmentIndex: 4,
      fragmentOffset: 11,
      xattrIndex: 6,
    },
  ],
  ['extended symlink', cat(base(10), LINK, XATTR), { mode: 0o124751, nlink: 3, size: 6, xattrIndex: 13 }],
  [
    'extended block device',
    cat(base(11), DEVICE, XATTR),
    { mode: 0o064751, rdev: 0x0010_0803, xattrIndex: 13 },
  ],
  ['extended character device', cat(base(12), DEVICE, XATTR), { mode: 0o024751, xattrIndex: 13 }],
  ['extended fifo', cat(base(13), IPC, XATTR), { mode: 0o014751, nlink: 8, xattrIndex: 13 }],
  ['extended socket', cat(base(14), IPC, XATTR), { mode: 0o144751, nlink: 8, xattrIndex: 13 }],
]

test.each(INODES)(
  'every field of a %s is decoded at every position of its block',
  (_name, record, fields) => {
    const common = { ref: 42, uid: 70_000, gid: 1000, mtime: 3_000_000_000, inodeNumber: 77 }
    expect(decode(record)).toMatchObject({ ...common, ...fields })
    // The same wherever a block boundary falls.
    for (let lead = 8192 - record.length; lead < 8192; lead++) {
      const { tailPosition: _p, tailOffset: _o, ...decoded } = decode(record, lead)
      expect(decoded).toMatchObject({ ...common, ...fields })
    }
  },
)

test.each(INODES)('every proper prefix of the fixed fields is EIO in a %s', (name, record) => {
  // The block list is read when it is needed; its absence shows there.
  const fixed = name.endsWith('file') ? (name.startsWith('basic') ? 32 : 56) : record.length
  for (let length = 1; length < fixed; length++) {
    expect(failure(record.subarray(0, length)).code, `prefix ${length}`).toBe('EIO')
  }
})

test.each([
  ['inode number 0', cat(base(6).subarray(0, 12), u32(0), IPC), /inode number 0/],
  ['type 0', cat(base(0), new Uint8Array(64)), /type 0/],
  ['type 15', cat(base(15), new Uint8Array(64)), /type 15/],
  [
    'uid index beyond the table (squashfuse issue 154)',
    cat(u16(6), u16(0), u16(2), u16(0), u32(1), u32(1), IPC),
    /uid index 2/,
  ],
  [
    'gid index beyond the table',
    cat(u16(6), u16(0), u16(0), u16(65535), u32(1), u32(1), IPC),
    /gid index 65535/,
  ],
  ['link target longer than a page', cat(base(3), u32(1), u32(4097), new Uint8Array(4097)), /4097/],
  ['link target of 4 GiB', cat(base(3), u32(1), u32(0xffff_ffff)), /4294967295/],
  ['file size above 2^53', cat(base(9), u64(0), u64(2n ** 53n), new Uint8Array(24)), /file size/],
  [
    'file whose block list cannot fit',
    cat(base(9), u64(0), u64(2n ** 50n), u64(0), u32(1), u32(0xffff_ffff), u32(0), u32(0)),
    /block list/,
  ],
  ['fragment without a tail end', cat(base(2), u32(96), u32(0), u32(0), u32(4096)), /multiple/],
])('an inode with a wrong field is EIO: %s', (_name, record, message) => {
  const error = failure(record)
  expect(error.code).toBe('EIO')
  expect(error.message).toMatch(message)
})

test('a link target of exactly 4096 bytes is accepted, as in the kernel', () => {
  expect(decode(cat(base(3), u32(1), u32(4096), new Uint8Array(4096).fill(97))).size).toBe(4096)
})

test('an empty link target is accepted, as in the kernel', () => {
  expect(decode(cat(base(3), u32(1), u32(0))).size).toBe(0)
  expect(decode(cat(base(10), u32(1), u32(0), u32(5))).xattrIndex).toBe(5)
})
