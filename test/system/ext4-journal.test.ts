import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openVolume } from '../../ext4/journal/open-volume.ts'
import { FsError } from '../../src/base/index.ts'
import { memorySource } from '../ext4/support/describe.ts'
import { mke2fs, withKernelExt } from '../library/images/ext.ts'
import { makeTempDir, needs, Random, removeTempDir, run, titled } from '../library/index.ts'

/** Journals that debugfs writes, transaction by transaction, and what e2fsck makes of them. */

const need = needs('mke2fs', 'debugfs', 'e2fsck')
const needKernel = needs('root', 'loop', 'mke2fs')
const BLOCK = 1024
const [A, B, C, D] = [15_000, 15_001, 15_002, 15_003]
/** A block of data that looks like one of the journal. */
const ESCAPED = Buffer.concat([Buffer.from([0xc0, 0x3b, 0x39, 0x98]), Buffer.alloc(BLOCK - 4, 7)])

let temp = ''

beforeAll(() => {
  temp = makeTempDir()
})
afterAll(() => removeTempDir(temp))

/** Each transaction on its own: `jw`, with its options; `first` and `second` are files of content. */
async function journalled(
  name: string,
  options: string,
  open: string,
  transactions: readonly string[],
): Promise<string> {
  const image = await mke2fs(join(temp, name), { options: `-b ${BLOCK} -J size=1 ${options}`, megabytes: 16 })
  const commands = transactions.flatMap((one) => [`jo ${open}`, `jw ${one}`, 'jc'])
  writeFileSync(join(temp, 'commands'), `${commands.join('\n')}\n`)
  await run('debugfs', ['-w', '-f', 'commands', image], { cwd: temp })
  return image
}

function blocksOf(image: string): { readonly at: (block: number) => Buffer; readonly transactions: number } {
  const { volume, replay } = openVolume(memorySource(readFileSync(image)), image)
  return { at: (block) => volume.rawBlock(block), transactions: replay?.transactions ?? 0 }
}

describe.skipIf(!need.ok)(titled('a journal that debugfs wrote', need), () => {
  const first = new Random(1).bytes(3 * BLOCK)
  const second = Buffer.concat([ESCAPED, new Random(2).bytes(BLOCK)])
  const piece = (bytes: Buffer, i: number): Buffer => bytes.subarray(i * BLOCK, (i + 1) * BLOCK)

  beforeAll(() => {
    writeFileSync(join(temp, 'first'), first)
    writeFileSync(join(temp, 'second'), second)
  })

  test.each([
    ['without checksums', '-t ext4 -O ^metadata_csum,^64bit', ''],
    ['with 64 bits, without checksums', '-t ext4 -O ^metadata_csum,64bit', ''],
    ['with checksums of the second form', '-t ext4', '-c -v 2'],
    ['with checksums of the second form, without 64 bits', '-t ext4 -O ^64bit', '-c -v 2'],
    ['with checksums of the third form', '-t ext4', '-c -v 3'],
  ])(
    'a journal %s is replayed: the last copy counts, revoked blocks do not, nor what was not committed',
    async (_, options, open) => {
      const image = await journalled('image', options, open, [
        `-b ${A},${B},${C} first`,
        `-r ${B}`,
        `-b ${A},${D} second`,
        `-b ${C},${D} -c second`,
      ])
      const { at, transactions } = blocksOf(image)
      expect(transactions).toBe(3)
      expect(at(A).equals(ESCAPED)).toBe(true)
      expect(at(B).equals(Buffer.alloc(BLOCK))).toBe(true)
      expect(at(C).equals(piece(first, 2))).toBe(true)
      expect(at(D).equals(piece(second, 1))).toBe(true)
      copyFileSync(image, join(temp, 'recovered'))
      await run('e2fsck', ['-E', 'journal_only', '-y', join(temp, 'recovered')], { allowFailure: true })
      const recovered = readFileSync(join(temp, 'recovered'))
      for (const block of [A, B, C, D]) {
        expect(at(block).equals(recovered.subarray(block * BLOCK, (block + 1) * BLOCK)), `${block}`).toBe(
          true,
        )
      }
    },
  )

  test('a block that is written again after it was revoked is replayed', async () => {
    const image = await journalled('again', '-t ext4', '-c -v 3', [
      `-b ${A},${B},${C} first`,
      `-r ${B}`,
      `-b ${B},${D} second`,
    ])
    expect(blocksOf(image).at(B).equals(ESCAPED)).toBe(true)
  })

  test('a journal that wraps is replayed', async () => {
    const image = await journalled('wraps', '-t ext4', '-c -v 3', [`-b ${A},${B},${C} first`])
    const bytes = readFileSync(image)
    const start = journalStart(bytes)
    const maxlen = bytes.readUInt32BE(start + 16)
    // The transaction is 5 blocks from block 1 of the log on: moved so that three of them lie at the end.
    const log = Buffer.from(bytes.subarray(start + BLOCK, start + 6 * BLOCK))
    bytes.fill(0, start + BLOCK, start + 6 * BLOCK)
    log.copy(bytes, start + (maxlen - 3) * BLOCK, 0, 3 * BLOCK)
    log.copy(bytes, start + BLOCK, 3 * BLOCK)
    bytes.writeUInt32BE(maxlen - 3, start + 28)
    fixJournalSum(bytes, start)
    const { volume, replay } = openVolume(memorySource(bytes), 'wraps')
    expect(replay).toEqual({ transactions: 1, blocks: 3 })
    for (const [i, block] of [A, B, C].entries())
      expect(volume.rawBlock(block).equals(piece(first, i))).toBe(true)
  })

  test('a journal whose copy, descriptor or commit was changed is EIO with its place, and one without a commit ends before it', async () => {
    const image = await journalled('changed', '-t ext4', '-c -v 3', [`-b ${A},${B},${C} first`])
    const good = readFileSync(image)
    const start = journalStart(good)
    const changed = (block: number, at: number): Buffer => {
      const bytes = Buffer.from(good)
      bytes[start + block * BLOCK + at] = (bytes[start + block * BLOCK + at] ?? 0) ^ 1
      return bytes
    }
    const open = (bytes: Buffer) => openVolume(memorySource(bytes), 'changed')
    for (const [block, at, message] of [
      [1, 20, /journal: block 1 at byte \d+: transaction 1: wrong checksum/],
      [3, 500, /journal: block 3 at byte \d+: copy of block 15001: wrong checksum/],
      [5, 20, /journal: block 5 at byte \d+: commit of transaction 1: wrong checksum/],
      [0, 60, /superblock of the journal at byte \d+: checksum/],
    ] as const) {
      expect(() => open(changed(block, at)), `${block}`).toThrow(
        expect.objectContaining({ code: 'EIO', message: expect.stringMatching(message) }),
      )
    }
    // Without the magic number of the commit nothing is there.
    expect(open(changed(5, 0)).replay).toEqual({ transactions: 0, blocks: 0 })
  })

  test('a log of one descriptor that covers the whole journal, and itself, ends with EIO', async () => {
    const image = await journalled('itself', '-t ext4 -O ^metadata_csum,^64bit', '', [
      `-b ${A},${B},${C} first`,
    ])
    const bytes = readFileSync(image)
    const start = journalStart(bytes)
    const first = Buffer.from(bytes.subarray(start + BLOCK, start + 2 * BLOCK))
    // Tags without an end: as many as there is room for, again and again.
    for (let at = 12; at + 8 <= BLOCK; at += 8) {
      first.writeUInt32BE(A, at)
      first.writeUInt32BE(2, at + 4)
    }
    for (let block = 1; block < bytes.readUInt32BE(start + 16); block++)
      first.copy(bytes, start + block * BLOCK)
    expect(() => openVolume(memorySource(bytes), 'itself')).toThrow(
      expect.objectContaining({ code: 'EIO', message: expect.stringContaining('the log overtakes itself') }),
    )
  })
})

/** Byte position of the journal, which mke2fs makes in one piece. */
function journalStart(bytes: Buffer): number {
  const magic = Buffer.from([0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4])
  return bytes.indexOf(magic)
}

/** The checksum in the superblock of the journal, after a change. */
function fixJournalSum(bytes: Buffer, start: number): void {
  const sums = bytes.subarray(start, start + 1024)
  sums.writeUInt32BE(0, 0xfc)
  sums.writeUInt32BE(crcOf(sums), 0xfc)
}

/** CRC-32C by the definition, bit by bit. */
function crcOf(bytes: Uint8Array): number {
  let sum = 0xffff_ffff
  for (const byte of bytes) {
    sum ^= byte
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f6_3b78 : sum >>> 1
  }
  return sum >>> 0
}

describe.skipIf(!needKernel.ok)(titled('a journal that cannot be replayed', needKernel), () => {
  const refusal = (image: string): unknown => {
    try {
      return openVolume(memorySource(readFileSync(image)), 'image').replay
    } catch (error) {
      return error instanceof FsError ? `${error.code}: ${error.message}` : error
    }
  }

  test('fast commits that are not empty are refused by name, and empty ones are not', async () => {
    const image = await mke2fs(join(temp, 'fast'), {
      options: '-t ext4 -b 4096 -O fast_commit',
      megabytes: 64,
    })
    const copies = [join(temp, 'fast-1'), join(temp, 'fast-2')]
    await withKernelExt(
      temp,
      image,
      async (target) => {
        await run('sh', ['-c', 'echo one >"$1/one" && sync -f "$1"', 'sh', target])
        copyFileSync(image, copies[0] ?? '')
        await run('sh', ['-c', 'echo two >"$1/two" && sync "$1/two"', 'sh', target])
        copyFileSync(image, copies[1] ?? '')
      },
      'rw',
    )
    expect(copies.map(refusal)).toEqual([
      expect.objectContaining({ transactions: expect.any(Number) }),
      'EINVAL: image: fast commits in the journal cannot be replayed: run e2fsck on it',
    ])
  })

  test('a journal on another device is refused by name if it is needed, and is not needed after an unmount', async () => {
    const journal = await mke2fs(join(temp, 'journal'), { options: '-O journal_dev -b 4096', megabytes: 8 })
    expect(refusal(journal)).toBe('EINVAL: image: ext4 features that cannot be read: journal_dev')
    const image = await mke2fs(join(temp, 'external'), { options: '-t ext4 -b 4096' })
    const bytes = readFileSync(image)
    // s_journal_inum and s_journal_dev, and no checksum that covers them.
    bytes.writeUInt32LE(0, 1024 + 0xe0)
    bytes.writeUInt32LE(0x700, 1024 + 0xe4)
    const write = (name: string): string => {
      bytes.writeUInt32LE(crcOf(bytes.subarray(1024, 1024 + 0x3fc)), 1024 + 0x3fc)
      writeFileSync(join(temp, name), bytes)
      return join(temp, name)
    }
    expect(refusal(write('clean'))).toBe(undefined)
    bytes.writeUInt32LE(bytes.readUInt32LE(1024 + 0x60) | 4, 1024 + 0x60)
    expect(refusal(write('needed'))).toMatch(/^EINVAL: image: its journal is on another device/)
  })
})
