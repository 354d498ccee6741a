import { shownAcl } from '../../ext4/attributes/acl.ts'
import { decodeEntries } from '../../ext4/inodes/attribute-entries.ts'
import { decodeRevocations, decodeTags } from '../../ext4/journal/journal-blocks.ts'
import { decodeJournalSuperblock, type JournalSuperblock } from '../../ext4/journal/journal-superblock.ts'
import { decodeSuperblock, SUPERBLOCK_POSITION, SUPERBLOCK_SIZE } from '../../ext4/superblock/superblock.ts'
import { viewOf } from '../../src/base/index.ts'
import { memorySource, walkImage } from '../ext4/support/describe.ts'
import { tinyImage } from '../ext4/support/tiny-image.ts'
import type { FuzzTarget } from './driver.ts'

const IMAGE = tinyImage()
const ATTRIBUTES = IMAGE.subarray(8 * 1024, 9 * 1024)
const ACL = Buffer.from('0100000001000600020006000500000004000400', 'hex')

function bigEndian(size: number, words: Readonly<Record<number, number>>): Buffer {
  const bytes = Buffer.alloc(size)
  for (const [at, value] of Object.entries(words)) bytes.writeUInt32BE(value, Number(at))
  return bytes
}

const JOURNAL = bigEndian(1024, { 0: 0xc03b_3998, 4: 4, 12: 1024, 16: 100, 20: 1, 24: 5, 28: 7, 40: 3 })
const LOG: JournalSuperblock = decodeJournalSuperblock(JOURNAL, 'journal', 0, 100, 1024)

/** The parts of an ext4 file system, and a small one as a whole. */
export const EXT4_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'ext4 superblock',
    samples: [IMAGE.subarray(SUPERBLOCK_POSITION, SUPERBLOCK_POSITION + SUPERBLOCK_SIZE)],
    run: (input) => void decodeSuperblock(input, 'image', IMAGE.length),
    codes: ['EIO', 'EINVAL'],
  },
  {
    name: 'ext4 attributes',
    samples: [ATTRIBUTES],
    run: (input) => {
      const area = { view: viewOf(input), start: Math.min(32, input.length), end: input.length, base: 0 }
      for (const { offset, size, valueInode } of decodeEntries(area, 'attributes')) {
        if (valueInode === 0 && size > 0 && offset + size > input.length) throw new Error('value outside')
      }
    },
  },
  {
    name: 'ext4 access list',
    samples: [ACL],
    run: (input) => {
      if (shownAcl(input, 'list').length > 4 + input.length * 2) throw new Error('list has grown')
    },
  },
  {
    name: 'ext4 journal',
    samples: [JOURNAL],
    run: (input) => {
      const block = Buffer.alloc(1024)
      Buffer.from(input).copy(block)
      if (decodeTags(viewOf(block), LOG).length > 84) throw new Error('too many tags')
      const revoked = decodeRevocations(viewOf(block), LOG)
      if (revoked !== undefined && revoked.length > 126) throw new Error('too many revocations')
      const { first, end, start } = decodeJournalSuperblock(block, 'journal', 0, 100, 1024)
      if (!(first >= 1 && end <= 100 && start < end)) throw new Error('log outside of the journal')
    },
    codes: ['EIO', 'EINVAL'],
  },
  {
    name: 'ext4 image',
    samples: [IMAGE],
    run: (input) => void walkImage(memorySource(input), { names: 200, fileBytes: 1 << 16 }),
    codes: ['EIO', 'EINVAL'],
  },
]
