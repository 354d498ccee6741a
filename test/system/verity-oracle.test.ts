import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  appendVerityData,
  findAlgorithm,
  type HashType,
  openVerity,
  treeGeometry,
  verifyRange,
} from '../../src/verity/index.ts'
import { needs, titled } from '../library/programs/tools.ts'
import { failureOf, MemorySource } from '../verity/support.ts'

/**
 * The oracle is `veritysetup` of cryptsetup. Its `format` and `verify` take all block sizes (the kernel's limit
 * of a page applies to `open` only), so that every geometry of the format can be compared without root.
 */
interface Combination {
  readonly algorithm: string
  readonly hashType: HashType
  readonly dataBlockSize: number
  readonly hashBlockSize: number
  /** Bytes. */
  readonly saltSize: number
  /** Bytes of the image. */
  readonly size: number
}

const UUID = 'c0ffee00-1234-4678-9abc-def012345678'
const SIZES = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
const ALGORITHMS = [
  'sha1',
  'sha224',
  'sha256',
  'sha384',
  'sha512',
  'sha512-256',
  'sha3-256',
  'sha3-512',
  'blake2b-512',
  'blake2s-256',
  'rmd160',
  'sm3',
]

function combinations(): Combination[] {
  const usual = {
    algorithm: 'sha256',
    hashType: 1,
    dataBlockSize: 4096,
    hashBlockSize: 4096,
    saltSize: 32,
  } as const
  const list: Combination[] = []
  // Image sizes: partial and whole blocks; one hash block full and one more; two levels full and one more.
  for (const size of [1, 4095, 4096, 4097, 8192, 128 * 4096, 128 * 4096 + 1, 300 * 4096 - 1000]) {
    list.push({ ...usual, size })
  }
  for (const hashType of [0, 1] as const) {
    for (const algorithm of ALGORITHMS) list.push({ ...usual, algorithm, hashType, size: 70 * 4096 - 7 })
    for (const saltSize of [0, 1, 31, 255, 256]) list.push({ ...usual, hashType, saltSize, size: 131 * 4096 })
    // Every pair of neighbouring sizes, both ways, and equal ones.
    for (const [i, size] of SIZES.entries()) {
      const other = SIZES[(i + 3) % SIZES.length] ?? size
      const algorithm = ALGORITHMS[i] ?? 'sha256'
      list.push({ ...usual, hashType, dataBlockSize: size, hashBlockSize: size, size: 40 * size - 100 })
      list.push({ ...usual, algorithm, hashType, dataBlockSize: size, hashBlockSize: other, size: 19 * size })
    }
    // Small hash blocks make many levels: 8 digests of 64 bytes each, 16 of 20 or 32 bytes.
    for (const blocks of [8, 64, 72, 512, 520, 4096, 4104]) {
      const small = { dataBlockSize: 512, hashBlockSize: 512, size: blocks * 512 }
      list.push({ ...usual, ...small, algorithm: 'sha512', hashType, saltSize: 8 })
    }
    for (const blocks of [16, 256, 264, 4096, 4104]) {
      const small = { dataBlockSize: 512, hashBlockSize: 512, size: blocks * 512 }
      list.push({ ...usual, ...small, algorithm: 'sha1', hashType, saltSize: 0 })
    }
  }
  return list
}

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'verity-oracle-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function veritysetup(...args: string[]): { readonly status: number | null; readonly output: string } {
  const run = spawnSync('veritysetup', args, { encoding: 'utf8', timeout: 60_000 })
  if (run.error !== undefined) throw run.error
  return { status: run.status, output: run.stdout + run.stderr }
}

function rootHashOf(run: { readonly status: number | null; readonly output: string }): string {
  const found = /Root hash:\s+([0-9a-f]+)/.exec(run.output)?.[1]
  if (run.status !== 0 || found === undefined) throw new Error(`veritysetup format: ${run.output}`)
  return found
}

/** Bytes that differ from block to block: a linear congruential sequence. */
function content(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = seed + 1
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

function formatArguments(combination: Combination, salt: Uint8Array): string[] {
  return [
    `--hash=${combination.algorithm}`,
    `--format=${combination.hashType}`,
    `--data-block-size=${combination.dataBlockSize}`,
    `--hash-block-size=${combination.hashBlockSize}`,
    `--salt=${salt.byteLength === 0 ? '-' : Buffer.from(salt).toString('hex')}`,
  ]
}

function load(path: string): MemorySource {
  return new MemorySource(new Uint8Array(readFileSync(path)))
}

const ALL = combinations()
const NEED = needs('veritysetup')

test('the combinations for veritysetup cover enough cases', () => {
  expect(ALL.length).toBeGreaterThan(60)
})

describe.skipIf(!NEED.ok)(titled('hash trees beside veritysetup', NEED), () => {
  test.each(ALL.map((combination, i) => ({ ...combination, i })))(
    'veritysetup agrees on $i: $algorithm type $hashType, blocks $dataBlockSize/$hashBlockSize, salt $saltSize, $size bytes',
    (combination) => {
      const { algorithm, hashType, dataBlockSize, hashBlockSize, size, i } = combination
      const data = content(size, i)
      const salt = content(combination.saltSize, i + 1000)

      const ours = join(folder, `${i}.ours`)
      writeFileSync(ours, data)
      const options = { algorithm, hashType, dataBlockSize, hashBlockSize, salt, uuid: UUID }
      const { rootHash, hashOffset, superblock } = appendVerityData(ours, options)

      const theirs = join(folder, `${i}.theirs`)
      writeFileSync(theirs, data)
      truncateSync(theirs, hashOffset)
      const place = [`--hash-offset=${hashOffset}`]
      const blocks = `--data-blocks=${superblock.dataBlocks}`
      const format = formatArguments(combination, salt)
      const run = veritysetup('format', theirs, theirs, ...place, ...format, blocks, `--uuid=${UUID}`)
      expect(rootHash).toBe(rootHashOf(run))

      // The same bytes, but for zeros that veritysetup may leave out at the end.
      const oursBytes = load(ours)
      const theirBytes = load(theirs)
      const common = Math.min(oursBytes.size, theirBytes.size)
      expect(Buffer.compare(oursBytes.bytes.subarray(0, common), theirBytes.bytes.subarray(0, common))).toBe(
        0,
      )
      for (const { bytes } of [oursBytes, theirBytes]) {
        expect(bytes.subarray(common).every((byte) => byte === 0)).toBe(true)
      }

      expect(veritysetup('verify', ours, ours, rootHash, ...place)).toMatchObject({ status: 0 })
      const verified = openVerity({ source: theirBytes, rootHash, dataLength: size })
      const { table } = verified
      const all = new Uint8Array(size)
      verified.readInto(0, all)
      expect(Buffer.compare(all, data)).toBe(0)
      expect(verifyRange({ source: theirBytes, table })).toMatchObject({ badBlocks: 0, failures: [] })

      // One flip in the data, and one in the lowest level of the tree where there is a tree.
      const digestSize = findAlgorithm(algorithm)?.digestSize ?? 0
      const leaves = treeGeometry(table, digestSize, table.treeOffset).levels[0]
      const flips = [(i * 7919) % size]
      if (leaves !== undefined) flips.push(leaves.start + ((i * 31) % digestSize))
      for (const position of flips) {
        oursBytes.flip(position)
        writeFileSync(ours, oursBytes.bytes)
        expect(veritysetup('verify', ours, ours, rootHash, ...place).status).not.toBe(0)
        const error = failureOf(() => {
          openVerity({ source: oursBytes, rootHash, dataLength: size }).readInto(0, new Uint8Array(size))
        })
        expect(error.code).toBe('EIO')
        const report = verifyRange({ source: oursBytes, table })
        expect(report.badBlocks).toBeGreaterThan(0)
        expect(report.failures).toHaveLength(1)
        oursBytes.flip(position)
      }
      rmSync(ours)
      rmSync(theirs)
    },
  )
})

describe.skipIf(!NEED.ok)(titled('a tree in a file of its own', NEED), () => {
  test.each([0, 1] as const)(
    'veritysetup agrees on a tree in its own file with a superblock, hash type %i',
    (hashType) => {
      const combination = {
        algorithm: 'sha256',
        hashType,
        dataBlockSize: 1024,
        hashBlockSize: 4096,
        saltSize: 16,
      }
      const data = content(1024 * 333, 5)
      const [dataPath, hashPath] = [join(folder, 'separate.data'), join(folder, 'separate.hash')]
      writeFileSync(dataPath, data)
      const format = formatArguments({ ...combination, size: data.byteLength }, content(16, 6))
      const rootHash = rootHashOf(veritysetup('format', dataPath, hashPath, ...format))
      const options = {
        source: load(dataPath),
        hashSource: load(hashPath),
        rootHash,
        dataLength: data.byteLength,
      }
      const all = new Uint8Array(data.byteLength)
      openVerity({ ...options, hashOffset: 0 }).readInto(0, all)
      expect(Buffer.compare(all, data)).toBe(0)
      rmSync(hashPath)
    },
  )

  test('veritysetup agrees on a tree in its own file without a superblock', () => {
    const combination: Combination = {
      algorithm: 'sha512',
      hashType: 1,
      dataBlockSize: 4096,
      hashBlockSize: 1024,
      saltSize: 20,
      size: 4096 * 50,
    }
    const data = content(combination.size, 8)
    const salt = content(20, 9)
    const [dataPath, hashPath] = [join(folder, 'bare.data'), join(folder, 'bare.hash')]
    writeFileSync(dataPath, data)
    const format = formatArguments(combination, salt)
    const rootHash = rootHashOf(veritysetup('format', dataPath, hashPath, '--no-superblock', ...format))
    const { algorithm, hashType, dataBlockSize, hashBlockSize, size } = combination
    const verified = openVerity({
      source: load(dataPath),
      hashSource: load(hashPath),
      hashOffset: 0,
      rootHash,
      dataLength: size,
      parameters: { algorithm, hashType, dataBlockSize, hashBlockSize, dataBlocks: 50, salt },
    })
    const all = new Uint8Array(size)
    verified.readInto(0, all)
    expect(Buffer.compare(all, data)).toBe(0)
  })
})
