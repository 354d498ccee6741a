import { ByteReader } from '../../base/index.ts'
import { launchLineEnd } from '../../kinds/launch-line.ts'
import { ImageError } from './errors.ts'

/** Bytes of a file that are looked at. */
export const HEAD_SIZE = 2048

const SQUASHFS_MAGIC = 'hsqs'
/** Bytes of a superblock that are read: to the version. */
const SQUASHFS_HEAD = 32
/** What Apptainer compares with the length of what is left; the size of a pointer. */
const POINTER_SIZE = 8

/** By their numbers in the superblock. Apptainer knows zstd since 1.4.0. */
const COMPRESSORS = ['', 'gzip', 'lzma', 'lzo', 'xz', 'lz4', 'zstd']

/** Where the magic lies in an ext file system, and what lies behind it: `s_magic` to `s_feature_ro_compat`. */
const EXT_MAGIC_AT = 1080
const EXT_MAGIC = 0xef53
const EXT_HEAD = 48

const HAS_JOURNAL = 0x4
/** `filetype`, `needs_recovery`, `meta_bg`. */
const EXT3_INCOMPATIBLE = 0x2 | 0x4 | 0x10
/** `sparse_super`, `large_file`, `btree_dir`. */
const EXT3_READ_ONLY = 0x1 | 0x2 | 0x4

interface SquashfsHead {
  readonly start: number
  readonly compressor: number
  readonly major: number
}

/**
 * Looks for a squashfs superblock at the start of a file, or behind the launch line that the file begins with.
 * @param head the first bytes of the file; Apptainer looks at 2048
 * @returns the byte where the image begins
 * @throws ImageError `other-format` where there is none; `bad-header` for an unknown compressor
 */
export function checkSquashfsHeader(head: Uint8Array): number {
  const { start, compressor } = squashfsHead(head)
  if (compressor === 0 || COMPRESSORS[compressor] === undefined) {
    const wrong = `unknown compression algorithm value ${compressor}`
    throw new ImageError('bad-header', `corrupted image: ${wrong}`, 0)
  }
  return start
}

/**
 * The compressor of a squashfs image by its name. Images of versions below 4 have none but gzip.
 * @returns empty for a number that no compressor has
 * @throws ImageError `other-format` where there is no superblock, or one of a version above 4
 */
export function getSquashfsComp(head: Uint8Array): string {
  const { compressor, major, start } = squashfsHead(head)
  if (major > 4) throw new ImageError('other-format', 'not a valid squashfs image', start)
  return major < 4 ? 'gzip' : (COMPRESSORS[compressor] ?? '')
}

function squashfsHead(head: Uint8Array): SquashfsHead {
  const start = launchLineEnd(head) ?? 0
  const wrong = (what: string): ImageError =>
    new ImageError('other-format', `while parsing squashfs super block: ${what}`, start)
  if (start + POINTER_SIZE >= head.length) throw wrong("can't find squashfs information header")
  if (start + SQUASHFS_HEAD > head.length) throw wrong("can't read the top of the image")
  const reader = ByteReader.over(head.subarray(start), 'squashfs header')
  const magic = Buffer.from(reader.bytes(SQUASHFS_MAGIC.length)).toString('latin1')
  if (magic !== SQUASHFS_MAGIC) throw wrong('not a valid squashfs image')
  // Inodes, time, block size, fragments.
  reader.skip(16)
  const compressor = reader.u16()
  // Logarithm of the block size, flags, number of ids.
  reader.skip(6)
  return { start, compressor, major: reader.u16() }
}

/**
 * Looks for an ext3 superblock as `checkSquashfsHeader` does for one of squashfs. ext2 and ext4 are no ext3: it must have a
 * journal, and no feature that the kernel's ext3 does not know. (A mount of this program reads all three.)
 * @throws ImageError `other-format` where there is no magic; `bad-header` for features; `offset` says where it was looked
 */
export function checkExt3Header(head: Uint8Array): number {
  const start = launchLineEnd(head) ?? 0
  const at = start + EXT_MAGIC_AT
  const fault = (kind: 'other-format' | 'bad-header', what: string): ImageError =>
    new ImageError(kind, what, at)
  if (at + POINTER_SIZE >= head.length) throw fault('other-format', "can't find ext3 information header")
  if (at + EXT_HEAD > head.length) throw fault('other-format', "can't read the top of the image")
  const reader = ByteReader.over(head.subarray(at), 'ext3 header')
  if (reader.u16() !== EXT_MAGIC) throw fault('other-format', 'file is not a valid ext3 image')
  // The state, and what lies between it and the features.
  reader.skip(34)
  const compatible = reader.u32()
  const incompatible = reader.u32()
  const readOnly = reader.u32()
  const isExt3 =
    (compatible & HAS_JOURNAL) !== 0 &&
    (incompatible & ~EXT3_INCOMPATIBLE) === 0 &&
    (readOnly & ~EXT3_READ_ONLY) === 0
  if (!isExt3) throw fault('bad-header', 'file is not a valid ext3 image')
  return start
}
