import { copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inScene, makeVerifiedImage, type VerifiedImage } from '../hostile/index.ts'
import {
  appendVerity,
  bytesUsed,
  makeTempDir,
  needs,
  ROOT_HASH_ANNOTATION,
  removeTempDir,
  titled,
  writeOciLayout,
} from '../library/index.ts'

/**
 * Only the root hash is trusted. Whoever can write the image file forges what leads to it: the fields of the verity
 * superblock, the place where it is looked for, the tree. All of that is refused when mounting, with the reason.
 */

const OLD_ANNOTATION = 'io.stackeroci.stacker.squashfs_verity_root_hash'
const need = needs('root', 'fuse', 'mksquashfs', 'veritysetup')

let temp = ''
let image: VerifiedImage
let original: Buffer
let rootHash = ''
let hashOffset = 0

beforeAll(async () => {
  if (!need.ok) return
  temp = makeTempDir()
  image = await makeVerifiedImage(temp)
  const layer = image.layers[0]!
  original = readFileSync(layer.path)
  rootHash = layer.rootHash
  hashOffset = layer.regions.find((region) => region.name === 'verity superblock')!.start
})

afterAll(() => {
  if (temp !== '') removeTempDir(temp)
})

/** Mounts a changed copy of the lower layer. */
async function expectRefused(
  change: (bytes: Buffer) => Buffer | undefined,
  reason: RegExp,
  hash = rootHash,
): Promise<void> {
  await inScene(temp, async (scene) => {
    const file = join(scene.folder, 'forged')
    const copy = Buffer.from(original)
    writeFileSync(file, change(copy) ?? copy)
    // The mode that compares least.
    const args = ['--allow-missing-verity', '--verify=lazy', '--root-hash', hash]
    scene.expectRefused(await scene.mount(file, ...args), reason)
  })
}

const u32 =
  (field: number, value: number) =>
  (bytes: Buffer): undefined => {
    bytes.writeUInt32LE(value, hashOffset + field)
  }
const dataBlocks =
  (value: (blocks: bigint) => bigint) =>
  (bytes: Buffer): undefined => {
    bytes.writeBigUInt64LE(value(bytes.readBigUInt64LE(hashOffset + 72)), hashOffset + 72)
  }
const algorithm =
  (name: string) =>
  (bytes: Buffer): undefined => {
    bytes.fill(0, hashOffset + 32, hashOffset + 64).write(name, hashOffset + 32)
  }

/** cryptsetup, DMVerity: "Verity superblock format". */
const FORGED: Readonly<Record<string, readonly [(bytes: Buffer) => Buffer | undefined, RegExp]>> = {
  'no signature': [(bytes) => bytes.fill(0, hashOffset, hashOffset + 8), /no verity superblock/],
  'version 2': [u32(8, 2), /version 2/],
  'hash type 0': [u32(12, 0), /root hash does not match/],
  'hash type 7': [u32(12, 7), /hash type 7/],
  'hash function md5': [algorithm('md5'), /"md5" is none of/],
  'no hash function': [algorithm(''), /algorithm name is empty/],
  'a function with a longer digest': [algorithm('sha512'), /root hash has 32 bytes/],
  'another function of the same length': [algorithm('sha512-256'), /root hash does not match/],
  'half the data blocks': [dataBlocks((blocks) => blocks / 2n), /covers \d+ bytes .* uses \d+/],
  'one data block less': [dataBlocks((blocks) => blocks - 1n), /covers \d+ bytes .* uses \d+/],
  'no data blocks': [dataBlocks(() => 0n), / 0 data blocks/],
  'one data block more': [dataBlocks((blocks) => blocks + 1n), /inside the data it covers/],
  'a million data blocks': [dataBlocks(() => 1_000_000n), /covers \d+ bytes, the file has/],
  '2^62 data blocks': [dataBlocks(() => 2n ** 62n), /exceeds? 2\^53/],
  'data blocks of 512 bytes': [u32(64, 512), /covers \d+ bytes .* uses \d+/],
  'smaller and more data blocks': [
    (bytes) => {
      u32(64, 1024)(bytes)
      dataBlocks((blocks) => blocks * 4n)(bytes)
    },
    /data block 0 at byte 0: expected|hash tree ends at byte/,
  ],
  'larger and fewer data blocks': [
    (bytes) => {
      u32(64, 8192)(bytes)
      dataBlocks((blocks) => (blocks + 1n) / 2n)(bytes)
    },
    /does not match|expected [0-9a-f]+ got|inside the data|covers/,
  ],
  'data blocks of 4095 bytes': [u32(64, 4095), /data block size 4095/],
  'hash blocks of 512 bytes': [u32(68, 512), /does not match|hash tree ends/],
  'hash blocks of 64 KiB': [u32(68, 65_536), /does not match|hash tree ends/],
  'hash blocks of 0 bytes': [u32(68, 0), /hash block size 0/],
  'another salt': [(bytes) => bytes.fill(9, hashOffset + 88, hashOffset + 120), /root hash does not match/],
  'no salt': [u32(80, 0), /root hash does not match/],
  'a longer salt': [u32(80, 64), /root hash does not match/],
  'a salt of 300 bytes': [u32(80, 300), /salt of 300 bytes/],
  'a tree cut by one block': [(bytes) => bytes.subarray(0, bytes.length - 4096), /hash tree ends at byte/],
  'a tree cut by one byte': [(bytes) => bytes.subarray(0, bytes.length - 1), /hash tree ends at byte/],
  'no tree': [(bytes) => bytes.subarray(0, hashOffset + 512), /hash tree ends at byte/],
  'no verity data': [(bytes) => bytes.subarray(0, hashOffset), /no verity superblock/],
  'a tree of zeros': [(bytes) => bytes.fill(0, hashOffset + 4096), /root hash does not match/],
  'fewer bytes used, and a copy of the true tree there': [
    (bytes) => {
      // Everything fits and the top of the tree is genuine; only the first block, changed for it, is not.
      const place = 150 * 4096
      expect(place + 4096 * 10).toBeLessThan(hashOffset)
      bytes.copy(bytes, place, hashOffset)
      bytes.writeBigUInt64LE(150n, place + 72)
      bytes.writeBigUInt64LE(BigInt(place), 40)
      bytes.writeBigUInt64LE(0n, 32)
      // The tables in their order: inodes, directories, fragments, export, ids, xattrs.
      for (const [i, field] of [64, 72, 80, 88, 48, 56].entries()) {
        bytes.writeBigUInt64LE(BigInt(place - 20_000 + i * 3000), field)
      }
    },
    /data block 0 at byte 0: expected/,
  ],
  'more bytes used': [
    (bytes) => {
      bytes.writeBigUInt64LE(BigInt(hashOffset + 5000), 40)
    },
    /verity superblock/,
  ],
}

describe.skipIf(!need.ok)(titled('forged verity data', need), () => {
  test.each(Object.keys(FORGED))('forged verity data is refused: %s', async (name) => {
    const [change, reason] = FORGED[name]!
    await expectRefused(change, reason)
  })

  test('a changed image with a new hash tree of its own is refused', async () => {
    await inScene(temp, async (scene) => {
      const file = join(scene.folder, 'forged')
      writeFileSync(file, original)
      truncateSync(file, bytesUsed(file))
      const bytes = readFileSync(file)
      bytes[5000]! ^= 1
      writeFileSync(file, bytes)
      const forged = await appendVerity(file, { salt: '0b'.repeat(32) })
      expect(forged.rootHash).not.toBe(rootHash)
      scene.expectRefused(await scene.mount(file, '--root-hash', rootHash), /root hash does not match/)
      expect((await scene.mount(file, '--root-hash', forged.rootHash)).stderr).toBe('')
      await scene.unmount()
    })
  })
})

describe.skipIf(!need.ok)(titled('malformed root hashes', need), () => {
  test.each([
    ['too short', (): string => rootHash.slice(2), /62 hex digits are no root hash/],
    ['too long', (): string => `${rootHash}00`, /66 hex digits are no root hash/],
    ['of another kind', (): string => rootHash.slice(24), /root hash has 20 bytes/],
    ['an odd number of digits', (): string => rootHash.slice(1), /63 hex digits, but two make a byte/],
    ['not hex', (): string => `zz${rootHash.slice(2)}`, /'z' is no hex digit/],
    ['empty', (): string => '', /0 hex digits are no root hash/],
    ['zeros', (): string => '00'.repeat(32), /root hash does not match/],
    ['that of another layer', (): string => image.layers[1]!.rootHash, /root hash does not match/],
  ] as const)('a malformed root hash is refused: %s', async (_, hash, reason) => {
    await expectRefused(() => undefined, reason, hash())
  })

  test('a root hash in capital letters is the same hash', async () => {
    await inScene(temp, async (scene) => {
      const result = await scene.mount(image.layers[0]!.path, '--root-hash', rootHash.toUpperCase())
      expect(result).toMatchObject({ status: 0, stderr: '' })
      await scene.unmount()
    })
  })
})

describe.skipIf(!need.ok)(titled('the root hash in the manifest', need), () => {
  /** Mounts the lower layer with these annotations. */
  async function withAnnotations(
    annotations: Readonly<Record<string, string>>,
    args: readonly string[],
    reason: RegExp | undefined,
  ): Promise<void> {
    await inScene(temp, async (scene) => {
      const file = join(scene.folder, 'layer')
      copyFileSync(image.layers[0]!.path, file)
      await writeOciLayout(join(scene.folder, 'oci'), [{ tag: 'one', layers: [{ file, annotations }] }])
      const result = await scene.mount(`${scene.folder}/oci:one`, ...args)
      if (reason !== undefined) return scene.expectRefused(result, reason)
      expect(result).toMatchObject({ status: 0, stdout: '', stderr: '' })
      await scene.unmount()
    })
  }
  const allow = ['--allow-missing-verity']
  const other = 'ab'.repeat(32)

  test('a manifest without a root hash is refused, unless that is allowed', async () => {
    await withAnnotations({}, [], /has no root hash .*--allow-missing-verity/)
    await withAnnotations({}, allow, undefined)
  })

  test('a wrong root hash is refused, even if a missing one is allowed', async () => {
    for (const args of [[], allow, [...allow, '--verify=lazy']]) {
      await withAnnotations({ [ROOT_HASH_ANNOTATION]: other }, args, /root hash does not match/)
    }
  })

  test('the older root hash annotation counts too, and both must agree', async () => {
    await withAnnotations({ [OLD_ANNOTATION]: rootHash }, [], undefined)
    await withAnnotations({ [OLD_ANNOTATION]: other }, allow, /root hash does not match/)
    const both = (older: string): Record<string, string> => ({
      [ROOT_HASH_ANNOTATION]: rootHash,
      [OLD_ANNOTATION]: older,
    })
    await withAnnotations(both(rootHash.toUpperCase()), [], undefined)
    await withAnnotations(both(other), allow, /name different root hashes/)
  })

  test('a malformed root hash annotation is refused, and is not taken for a missing one', async () => {
    const texts = {
      '': /is empty/,
      no: /is not hex/,
      abc: /odd|even number/,
      abcd: /has 2 bytes/,
      ['ab'.repeat(65)]: /more than/,
    }
    for (const [text, reason] of Object.entries(texts)) {
      await withAnnotations({ [ROOT_HASH_ANNOTATION]: text }, allow, reason)
    }
  })

  test('a different root hash on the command line is refused', async () => {
    await withAnnotations(
      { [ROOT_HASH_ANNOTATION]: rootHash },
      ['--root-hash', other],
      /manifest says root hash/,
    )
  })
})
