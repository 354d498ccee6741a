import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DEFAULT_KDF_LIMITS, wipeKeys } from '../../../src/crypt/index.ts'
import { keysFor } from '../../../src/molecule/encryption/locked.ts'
import { describeLocked } from '../../../src/molecule/encryption/report.ts'
import { unlockSource } from '../../../src/molecule/encryption/unlock.ts'
import { closeImage, imageSource, openImage, storedSource } from '../../../src/molecule/image-file.ts'
import { filesOf } from '../../../src/molecule/index.ts'
import { lockedImages, parseSource } from '../../../src/molecule/source.ts'
import { allOf, givenKeys } from '../../crypt/support.ts'
import { makeLuks, repairChecksum } from '../../library/images/luks.ts'
import { makeSif, SIF_TYPE } from '../../library/images/sif.ts'
import { makeTempDir, removeTempDir } from '../../library/index.ts'

const BLOBS = join(import.meta.dirname, '../../../fixtures/oci/blobs/sha256')
/** A squashfs image of the fixtures. */
const PLAIN = readdirSync(BLOBS)
  .map((name) => readFileSync(join(BLOBS, name)))
  .find((bytes) => bytes.subarray(0, 4).equals(Buffer.from([0x68, 0x73, 0x71, 0x73])))!
const IMAGE = makeLuks({ plain: PLAIN, passphrase: 'right' })

let temp = ''
beforeEach(() => {
  temp = makeTempDir()
})
afterEach(() => {
  wipeKeys()
  removeTempDir(temp)
})

function write(name: string, bytes: Buffer): string {
  const path = join(temp, name)
  writeFileSync(path, bytes)
  return path
}
const unlock = (source: ReturnType<typeof parseSource>, passphrase: string) =>
  unlockSource(source, { keys: givenKeys(passphrase), limits: DEFAULT_KDF_LIMITS })

/** What the image of a source holds, as its kind reads it. */
function read(source: ReturnType<typeof parseSource>): { bytes: Buffer; stored: Buffer; kind: string } {
  const [file] = filesOf({ source, name: 'x' }).layers
  const spec = openImage(file as never)
  try {
    return { bytes: allOf(imageSource(spec)), stored: allOf(storedSource(spec)), kind: spec.kind }
  } finally {
    closeImage(spec)
  }
}

/** A SIF file with a partition of LUKS2, and one that is not encrypted. */
function sif(image: Buffer): string {
  const parts = [
    { type: SIF_TYPE.partition, data: image, partition: [5, 2, '02'] as const },
    { type: SIF_TYPE.partition, data: PLAIN, partition: [1, 3, '02'] as const },
  ]
  return write('x.sif', makeSif({ parts }))
}

describe('an encrypted image', () => {
  test.each(['a file', 'a file at an offset', 'a SIF file'])(
    'in %s opens with its key, and not before',
    async (place) => {
      const path =
        place === 'a SIF file'
          ? sif(IMAGE)
          : write('x', Buffer.concat([Buffer.alloc(place === 'a file' ? 0 : 5000), IMAGE]))
      const source = { ...parseSource(path), ...(place === 'a file at an offset' && { offset: 5000 }) }
      expect(lockedImages(source)).toHaveLength(1)
      expect(() => read(source)).toThrow(expect.objectContaining({ code: 'ENOKEY' }))
      expect(keysFor(source)).toEqual([])
      await expect(unlock(source, 'wrong')).rejects.toMatchObject({ code: 'EKEYREJECTED' })
      expect(await unlock(source, 'right')).toEqual([])
      const { bytes, stored, kind } = read(source)
      expect(bytes.subarray(0, PLAIN.length).equals(PLAIN)).toBe(true)
      expect(stored.equals(IMAGE)).toBe(true)
      expect(kind).toBe('squashfs')
      expect(keysFor(source).map(({ unlocked }) => unlocked)).toEqual([
        { form: 'luks2', id: expect.stringMatching(/^[0-9a-f]{64}$/), keySize: 64, ...expectedSegment() },
      ])
      // It is known by now, so nothing is asked.
      await unlock(source, 'wrong')
      wipeKeys()
      expect(() => read(source)).toThrow(/its key is needed/)
    },
  )

  const expectedSegment = () => ({
    offset: IMAGE.length - Math.ceil(PLAIN.length / 512) * 512,
    size: Math.ceil(PLAIN.length / 512) * 512,
    sectorSize: 512,
    ivTweak: 0,
  })

  test('a key opens no other image, also not one that took the place of its own', async () => {
    const path = write('x', IMAGE)
    const source = parseSource(path)
    await unlock(source, 'right')
    writeFileSync(path, makeLuks({ plain: PLAIN, passphrase: 'right' }))
    expect(() => read(source)).toThrow(/its key is needed/)
    const longer = Buffer.concat([IMAGE, Buffer.alloc(512)])
    writeFileSync(path, longer)
    expect(() => read(source)).toThrow(/its key is needed/)
  })

  test('an image that was open when the keys were wiped is not read any more', async () => {
    const source = parseSource(write('x', IMAGE))
    await unlock(source, 'right')
    const [file] = filesOf({ source, name: 'x' }).layers
    const spec = openImage(file as never)
    wipeKeys()
    expect(() => imageSource(spec)).toThrow(/its key was wiped/)
    closeImage(spec)
  })

  test('a file whose first header is destroyed is found by its second one', async () => {
    const damaged = Buffer.from(IMAGE).fill(0, 0, 16_384)
    const source = parseSource(write('x', damaged))
    expect(await unlock(source, 'right')).toEqual([
      expect.stringMatching(/: one copy of its LUKS2 header is damaged: /),
    ])
    expect(read(source).bytes.subarray(0, PLAIN.length).equals(PLAIN)).toBe(true)
    expect(describeLocked(source)).toMatchObject([
      { form: 'luks2', remark: expect.stringContaining('primary copy') },
    ])
  })

  test('an image of another kind with the magic number of a second header in it is none', () => {
    const bytes = Buffer.alloc(100_000)
    PLAIN.copy(bytes)
    bytes.write('SKUL\xba\xbe', 65_536, 'latin1')
    const source = parseSource(write('x', bytes))
    expect(lockedImages(source)).toEqual([])
    expect(read(source).kind).toBe('squashfs')
    // A file of zeros may be one, and a closer look says that it is none.
    const zeros = parseSource(write('zeros', Buffer.alloc(100_000)))
    expect(lockedImages(zeros)).toEqual([])
  })

  test('a partition that its record calls encrypted, and is not, is EIO in one line', async () => {
    const source = parseSource(sif(Buffer.alloc(50_000)))
    await expect(unlock(source, 'right')).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringMatching(/x\.sif:1: both copies of its LUKS2 header are damaged: [^\n]+$/),
    })
    expect(describeLocked(source)).toEqual([
      { label: expect.any(String), problem: expect.stringContaining('damaged') },
    ])
  })

  test('a partition of gocryptfs without the files of one is refused in one line', async () => {
    const parts = [{ type: SIF_TYPE.partition, data: PLAIN, partition: [6, 2, '02'] as const }]
    const source = parseSource(write('x.sif', makeSif({ parts })))
    await expect(unlock(source, 'right')).rejects.toThrow(
      /: a gocryptfs partition without a file gocryptfs\.conf$/,
    )
  })

  test('only what a mount would show needs a key', () => {
    const path = sif(IMAGE)
    expect(lockedImages(parseSource(path))).toHaveLength(1)
    expect(lockedImages(parseSource(`${path}:1`))).toHaveLength(1)
    expect(lockedImages(parseSource(`${path}:2`))).toEqual([])
    expect(lockedImages({ container: 'sif', path: join(temp, 'none') })).toEqual([])
    const lowers = (...paths: string[]) => lockedImages({ lowers: paths, followsRedirects: false })
    expect(lowers(temp, path, `${path}:1`, `${path}:2`, join(temp, 'none'))).toHaveLength(2)
    expect(lowers(temp)).toEqual([])
  })

  test('what decrypts to no image is named as such', async () => {
    const image = makeLuks({ plain: Buffer.alloc(5000, 1), passphrase: 'right' })
    repairChecksum(image)
    const source = parseSource(write('x', image))
    await unlock(source, 'right')
    expect(() => read(source)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })
})
