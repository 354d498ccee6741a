import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { DEFAULT_KDF_LIMITS } from '../../src/crypt/index.ts'
import { readLuksHeader } from '../../src/crypt/luks/header.ts'
import { unlockLuks } from '../../src/crypt/luks/unlock.ts'
import { type Metadata, makeLuks, repairChecksum } from '../library/images/luks.ts'
import { allOf, memorySource, openLuks } from './support.ts'

const PLAIN = randomBytes(40_000)
const IMAGE = makeLuks({ plain: PLAIN, passphrase: 'right' })
const header = (image: Buffer) => readLuksHeader(memorySource(image))
const changed = (change: (metadata: Metadata) => unknown): Buffer =>
  makeLuks({ plain: PLAIN, passphrase: 'right', change })
/** Changes one object of the metadata, and keeps the rest. */
const patched = (patch: (metadata: Metadata) => void): Buffer =>
  changed((metadata) => {
    patch(metadata)
    return metadata
  })

/** @param path of the value in the metadata, with dots */
const set =
  (path: string, value: unknown) =>
  (metadata: Metadata): void => {
    const names = path.split('.')
    const last = names.pop()!
    const object = names.reduce(
      (inner: Record<string, unknown>, name) => inner[name] as never,
      metadata as never,
    )
    object[last] = value
  }

describe('a LUKS2 image', () => {
  test.each([
    { sectorSize: 512, keySize: 64 },
    { sectorSize: 512, keySize: 32 },
    { sectorSize: 1024, keySize: 64 },
    { sectorSize: 2048, keySize: 64 },
    { sectorSize: 4096, keySize: 64, ivTweak: 8 },
    { sectorSize: 4096, keySize: 32, headerSize: 65_536 },
  ] as const)(
    '$sectorSize bytes a sector, a key of $keySize bytes: holds what was encrypted',
    async (shape) => {
      const source = await openLuks(makeLuks({ plain: PLAIN, passphrase: 'p', ...shape }), 'p')
      const padded = Math.ceil(PLAIN.length / shape.sectorSize) * shape.sectorSize
      expect(source.size).toBe(padded)
      const all = allOf(source)
      expect(all.subarray(0, PLAIN.length).equals(PLAIN)).toBe(true)
      for (const [at, length] of [
        [0, 1],
        [1, 511],
        [511, 2],
        [4095, 4098],
        [padded - 1, 1],
        [padded, 0],
      ] as const) {
        const part = Buffer.alloc(length)
        source.readInto(at, part)
        expect(part.equals(all.subarray(at, at + length)), `${at}+${length}`).toBe(true)
      }
      expect(() => source.readInto(padded - 1, Buffer.alloc(2))).toThrow(/outside/)
    },
  )

  test('a large read is decrypted in pieces that do not begin with a sector', async () => {
    const plain = randomBytes(1 << 20)
    const source = await openLuks(makeLuks({ plain, passphrase: 'p', sectorSize: 4096 }), 'p')
    const part = new Uint8Array(new SharedArrayBuffer((1 << 20) - 1001))
    source.readInto(777, part)
    expect(Buffer.from(part).equals(plain.subarray(777, 777 + part.length))).toBe(true)
    source.close?.()
    expect(() => source.readInto(0, part)).toThrow()
  })

  test('a wrong passphrase is one line, and no key', async () => {
    await expect(openLuks(IMAGE, 'wrong')).rejects.toMatchObject({
      code: 'EKEYREJECTED',
      message: 'image: the passphrase or key is wrong: it does not open the image',
    })
  })

  test('one copy of the header is enough, whatever is left of the other one', async () => {
    for (const [at, length] of [
      [0, 16_384],
      [0, 8],
      [5000, 1],
      [16_384, 16_384],
      [448, 2],
      [16_384 + 4500, 1],
    ] as const) {
      const image = Buffer.from(IMAGE)
      for (let i = at; i < at + length; i++) image[i]! ^= 0x55
      const { remark } = header(image)
      expect(remark, `${at}`).toMatch(at < 16_384 ? /the primary copy at byte 0 / : /the secondary copy /)
      expect(
        allOf(await openLuks(image, 'right'))
          .subarray(0, PLAIN.length)
          .equals(PLAIN),
      ).toBe(true)
    }
  })

  test('both copies damaged are one line that says of each what is wrong', () => {
    const image = Buffer.from(IMAGE)
    image[5000]! ^= 1
    image[16_384 + 6000]! ^= 1
    expect(() => header(image)).toThrow(
      'image: both copies of its LUKS2 header are damaged: the primary copy at byte 0 does not match its checksum; ' +
        'the secondary copy at byte 16384 does not match its checksum',
    )
    image.fill(0, 0, 32_768)
    expect(() => header(image)).toThrow(/both copies .* has another magic number; no second copy is there$/)
  })

  test('of two copies that are whole the newer one counts', () => {
    const image = makeLuks({ plain: PLAIN, passphrase: 'right', secondSequence: 2 })
    image.write('ffffffff', 16_384 + 168)
    repairChecksum(image, 16_384)
    expect(header(image).uuid).toMatch(/^ffffffff-/)
    const older = Buffer.from(IMAGE)
    older.write('ffffffff', 16_384 + 168)
    repairChecksum(older, 16_384)
    expect(header(older).uuid).toMatch(/^01234567-/)
  })

  test('LUKS1 is refused by its name', () => {
    const image = Buffer.from(IMAGE)
    image.writeUInt16BE(1, 6)
    expect(() => header(image)).toThrow(/encrypted with LUKS1, and only LUKS2 is read/)
  })

  test('an image that was cut off says where its data end', () => {
    expect(() => header(patched(set('segments.0.size', '409600')))).toThrow(
      /its data end at byte \d+, and the image at \d+: it is cut off/,
    )
    expect(() => header(IMAGE.subarray(0, 32_768))).toThrow(/it is cut off/)
  })

  test.each<[string, (metadata: Metadata) => void, RegExp]>([
    ['other ciphers', set('segments.0.encryption', 'aes-cbc-essiv:sha256'), /"aes-cbc/],
    ['integrity', set('segments.0.integrity', { type: 'hmac' }), /dm-integrity/],
    ['other segments', set('segments.0.type', 'linear'), /of type "linear"/],
    ['two segments', (metadata) => set('segments.1', metadata.segments['0'])(metadata), /with 2 segments/],
    [
      'an encryption that was not finished',
      set('config.requirements', { mandatory: ['online-reencrypt-v2'] }),
      /requirement "online-reencrypt-v2": its encryption was not finished/,
    ],
    ['what is new', set('config.requirements', { mandatory: ['x'] }), /requirement "x"/],
  ])('%s are refused by name', (_, patch, message) => {
    expect(() => header(patched(patch))).toThrow(message)
    expect(() => header(patched(patch))).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }))
  })

  test.each<[string, (metadata: Metadata) => unknown, RegExp]>([
    ['no JSON', () => 'x'.repeat(5), /segments|document|Expected|expected/i],
    ['no digest of the segment', set('digests.0.segments', []), /no digest for segment 0/],
    ['sectors that no disk has', set('segments.0.sector_size', 513), /sectors of 513/],
    ['data within the header', set('segments.0.offset', '4096'), /the data begins at byte 4096/],
    ['an area within the data', set('keyslots.0.area.offset', '40000'), /begins at byte/],
    ['an area behind the end', set('keyslots.0.area.offset', '9999999'), /ends at byte/],
    ['an area that is too small', set('keyslots.0.area.size', '64'), /has 64 bytes/],
    ['too many stripes', set('keyslots.0.af.stripes', 8001), /8001 stripes/],
    ['numbers beyond all disks', set('segments.0.offset', '99999999999999999999'), /offset/],
    ['negative numbers', set('keyslots.0.kdf.iterations', -1), /iterations/],
    [
      'too many keyslots',
      ({ keyslots }) => {
        for (let i = 1; i < 33; i++) keyslots[i] = keyslots['0']!
      },
      /33 keyslots/,
    ],
  ])('%s is EIO', (_, patch, message) => {
    const image = changed((metadata) => patch(metadata) ?? metadata)
    expect(() => header(image)).toThrow(message)
    expect(() => header(image)).toThrow(expect.objectContaining({ code: 'EIO' }))
  })
})

describe('keyslots', () => {
  const unlock = (image: Buffer, limits = DEFAULT_KDF_LIMITS): Promise<Buffer> =>
    unlockLuks(memorySource(image), header(image).metadata, Buffer.from('right'), limits)

  test('a derivation that asks for more memory or time than is allowed never starts', async () => {
    const argon = (memory: number, time = 1): Buffer =>
      patched(({ keyslots }) => {
        const { salt } = keyslots['0']!.kdf
        keyslots['0']!.kdf = { type: 'argon2id', salt, time, memory, cpus: 4 }
      })
    await expect(unlock(argon(4 << 20))).rejects.toMatchObject({
      code: 'ENOMEM',
      message:
        'image: keyslot 0 (argon2id) needs 4096 MiB of memory, and 2048 MiB are allowed (--kdf-memory)',
    })
    await expect(unlock(argon(1 << 20, 1_000_000))).rejects.toMatchObject({
      code: 'ETIME',
      message: expect.stringMatching(/would take about \d+ s, and 60 s are allowed \(--kdf-time\)$/),
    })
    const slow = patched(set('keyslots.0.kdf.iterations', 2 ** 31 - 1))
    await expect(unlock(slow)).rejects.toMatchObject({ code: 'ETIME' })
    const digest = patched(set('digests.0.iterations', 2 ** 31 - 1))
    await expect(unlock(digest)).rejects.toMatchObject({ code: 'ETIME' })
    await expect(unlock(argon(8, 1))).rejects.toMatchObject({ code: 'EIO' })
    await expect(unlock(argon(1 << 10), { memory: 2 ** 20, seconds: 1 })).rejects.toMatchObject({
      code: 'EKEYREJECTED',
    })
  })

  test('they come in the order of their priority, those of priority 0 are not tried', async () => {
    const several = patched(({ keyslots, digests }) => {
      const { area, ...slot } = keyslots['0']!
      const at = (n: number) => ({ ...area, offset: String(Number(area['offset']) + 512 * n), size: '512' })
      const af = { ...slot.af, stripes: 8 }
      for (const [id, priority] of [undefined, 0, 2, 1].entries()) {
        keyslots[id] = { ...slot, af, area: at(id), ...(priority !== undefined && { priority }) }
      }
      digests['0']!['keyslots'] = ['0', '1', '2', '3']
    })
    expect(header(several).metadata.keyslots.map(({ id }) => id)).toEqual([2, 0, 3, 1])
    const one = patched(set('keyslots.0.priority', 0))
    await expect(unlock(one)).rejects.toThrow('image: has no keyslot that could be opened')
  })

  test('two of them never share an area', () => {
    const image = patched((metadata) => set('keyslots.1', metadata.keyslots['0'])(metadata))
    expect(header(image).metadata.keyslots.length).toBe(1)
    const shared = patched(({ keyslots, digests }) => {
      keyslots['1'] = { ...keyslots['0']! }
      digests['0']!['keyslots'] = ['0', '1']
    })
    expect(() => header(shared)).toThrow(
      /the area of keyslot 1 begins at byte \d+, within the area of keyslot 0/,
    )
  })

  test('a hash that is not known is named', async () => {
    const image = patched(set('keyslots.0.af.hash', 'whirlpool'))
    await expect(unlock(image)).rejects.toMatchObject({ code: 'EOPNOTSUPP', message: /"whirlpool"/ })
  })

  test('a keyslot that cannot be used does not keep another one from being tried', async () => {
    const image = patched(({ keyslots, digests }) => {
      const { salt } = keyslots['0']!.kdf
      const { area } = keyslots['0']!
      keyslots['1'] = { ...keyslots['0']!, area: { ...area, size: '2560' } }
      keyslots['0'] = {
        ...keyslots['0']!,
        area: { ...area, offset: String(Number(area['offset']) + 2560), size: '512' },
        af: { ...keyslots['0']!.af, stripes: 8 },
        kdf: { type: 'argon2i', salt, time: 1, memory: 4 << 20, cpus: 1 },
      }
      digests['0']!['keyslots'] = ['0', '1']
    })
    expect((await unlock(image)).length).toBe(64)
  })
})
