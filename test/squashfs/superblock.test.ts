import { expect, test } from 'vitest'
import { decodeSuperblock, SUPERBLOCK_SIZE } from '../../squashfs/superblock.ts'
import { errnoOf, FsError } from '../../src/base/index.ts'
import { cat, text, u16, u32, u64 } from './support/bytes.ts'

const SOURCE_SIZE = 9000

const FIELDS = {
  magic: u32(0x73717368),
  inodeCount: u32(21),
  modTime: u32(4_000_000_001),
  blockSize: u32(131072),
  fragmentCount: u32(3),
  compressor: u16(6),
  blockLog: u16(17),
  flags: u16(0x00c0),
  idCount: u16(2),
  major: u16(4),
  minor: u16(0),
  rootOffset: u16(640),
  rootBlock: cat(u32(5), u16(0)),
  bytesUsed: u64(8192),
  idTable: u64(7800),
  xattrTable: u64(8000),
  inodeTable: u64(5000),
  directoryTable: u64(6000),
  fragmentTable: u64(7000),
  exportTable: u64(7400),
}

function superblock(change: Partial<Record<keyof typeof FIELDS, Uint8Array>> = {}): Uint8Array {
  return cat(...Object.values({ ...FIELDS, ...change }))
}

function failure(bytes: Uint8Array, size = SOURCE_SIZE): FsError {
  try {
    decodeSuperblock(bytes, size, 'x.sqfs')
  } catch (error) {
    if (error instanceof FsError) return error
    throw error
  }
  throw new Error('decoded')
}

test('every field of the squashfs superblock is decoded', () => {
  expect(superblock()).toHaveLength(SUPERBLOCK_SIZE)
  expect(decodeSuperblock(superblock(), SOURCE_SIZE, 'x')).toEqual({
    inodeCount: 21,
    modTime: 4_000_000_001,
    blockSize: 131072,
    fragmentCount: 3,
    compressor: 'zstd',
    blockLog: 17,
    flags: 0x00c0,
    idCount: 2,
    rootBlock: 5,
    rootOffset: 640,
    bytesUsed: 8192,
    idTable: 7800,
    xattrTable: 8000,
    inodeTable: 5000,
    directoryTable: 6000,
    fragmentTable: 7000,
    exportTable: 7400,
  })
})

test('every proper prefix of the squashfs superblock is EIO, and the error names file and missing part', () => {
  const bytes = superblock()
  expect(failure(bytes.subarray(0, 50)).message).toBe(
    'x.sqfs: ends after 50 bytes, the superblock of a squashfs image has 96',
  )
  for (let length = 0; length < bytes.length; length++) {
    expect(failure(bytes.subarray(0, length)).code, `prefix ${length}`).toBe('EIO')
  }
})

const NONE = u64(0xffff_ffff_ffff_ffffn)

test('optional tables may be absent, and the fragment table is ignored without fragments', () => {
  const decoded = decodeSuperblock(
    superblock({ xattrTable: NONE, exportTable: NONE, fragmentCount: u32(0), fragmentTable: u64(3) }),
    SOURCE_SIZE,
    'x',
  )
  expect([decoded.xattrTable, decoded.exportTable, decoded.fragmentTable]).toEqual([-1, -1, -1])
})

test.each([
  ['block size not a power of two', { blockSize: u32(131073) }, /block size 131073/],
  ['block size too small', { blockSize: u32(2048), blockLog: u16(11) }, /block size 2048/],
  ['block size too large', { blockSize: u32(2 ** 21), blockLog: u16(21) }, /block size 2097152/],
  ['block log', { blockLog: u16(16) }, /block log 16/],
  ['block log that would wrap a shift', { blockLog: u16(49) }, /block log 49/],
  ['compressor 0', { compressor: u16(0) }, /compressor 0/],
  ['compressor 7', { compressor: u16(7) }, /compressor 7/],
  ['no ids', { idCount: u16(0) }, /id count/],
  ['an export table of no inodes', { inodeCount: u32(0) }, /inode count is 0, but there is an export/],
  ['more inodes than fit', { inodeCount: u32(0xffff_ffff) }, /inode count 4294967295/],
  ['bytes used beyond the file', { bytesUsed: u64(9001) }, /truncated/],
  ['bytes used too small', { bytesUsed: u64(95) }, /bytes used 95/],
  ['bytes used above 2^53', { bytesUsed: u64(2n ** 53n) }, /2\^53/],
  ['inode table in the superblock', { inodeTable: u64(95) }, /inode table at 95/],
  ['tables out of order', { directoryTable: u64(5000) }, /directory table at 5000/],
  ['fragment table before directories', { fragmentTable: u64(5999) }, /fragment table/],
  ['fragments, but no table', { fragmentTable: NONE }, /fragment table/],
  ['export table after ids', { exportTable: u64(7800) }, /id table/],
  ['id table missing', { idTable: u64(8192) }, /id table at 8192/],
  ['xattr table beyond the end', { xattrTable: u64(8192) }, /xattr table at 8192/],
  ['root block outside', { rootBlock: cat(u32(1000), u16(0)) }, /root inode 1000/],
  ['root block above 2^32', { rootBlock: cat(u32(0), u16(1)) }, /root inode 4294967296/],
  ['root offset', { rootOffset: u16(8192) }, /root inode 5:8192/],
])('a squashfs superblock with a wrong field is EIO: %s', (_name, change, message) => {
  const error = failure(superblock(change))
  expect(error.code).toBe('EIO')
  expect(error.message).toMatch(message)
  expect(error.message).toMatch(/^x\.sqfs/)
})

test('the error for another squashfs version, byte order or format names it', () => {
  expect(failure(superblock({ major: u16(3), minor: u16(1) })).message).toMatch(/version 3\.1/)
  expect(failure(superblock({ minor: u16(1) })).message).toMatch(/version 4\.1/)
  const bigEndian = failure(superblock({ magic: Uint8Array.of(0x73, 0x71, 0x73, 0x68) }))
  expect(bigEndian.message).toMatch(/big-endian/)
  const bigEndian4 = failure(
    cat(text('sqsh'), new Uint8Array(24), Uint8Array.of(0, 4, 0, 0), new Uint8Array(64)),
  )
  expect(bigEndian4.message).toBe('x.sqfs: big-endian squashfs 4.0, only little-endian 4.0 is supported')
  const other = failure(superblock({ magic: u32(0xef53) }))
  expect(other.message).toMatch(/not a squashfs image/)
  expect(errnoOf(other)).toBe(22)
  expect(failure(new Uint8Array(0), 0).message).toMatch(/empty file/)
})
