import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, test } from 'vitest'
import {
  IMAGE_TYPE,
  IMAGE_USAGE,
  type Image,
  initImage,
  newPartitionReader,
  newSectionReader,
  ROOT_FS,
  SIF_DESC_INSPECT_METADATA_JSON,
  SIF_DESC_OCI_CONFIG_JSON,
} from '../../src/index.ts'
import {
  errorOf,
  extStart,
  ImageFolder,
  partOf,
  squashfsStart,
  usingImage,
} from '../library/images/apptainer-starts.ts'
import { makeSif, SIF_TYPE, type SifPart } from '../library/images/sif.ts'

/** Apptainer's package `image`: what is in a SIF, and how it is read. Its answers were obtained by running it; titles say where ours differ. */

const images = new ImageFolder()
afterAll(() => images.remove())

describe('a SIF', () => {
  const PRIMARY = partOf(squashfsStart(), 1, 2)
  /** Numbers, types and uses of the partitions of a file. */
  const partitionsOf = (parts: readonly SifPart[], shape = {}) =>
    usingImage(images.file(makeSif({ parts, ...shape })), ({ partitions, usage, remarks }) => ({
      partitions: partitions.map(({ id, type, allowedUsage }) => [id, type - 0x1000, allowedUsage]),
      usage,
      remarks,
    }))

  test('its root file system comes first, then overlays of its group and data by their records; others are sections', () => {
    const whole = [
      { type: SIF_TYPE.definition, data: Buffer.from('bootstrap: scratch\n') },
      partOf(extStart(), 2, 4, { name: 'own' }),
      { type: SIF_TYPE.json, data: Buffer.from('{}'), name: SIF_DESC_OCI_CONFIG_JSON },
      PRIMARY,
      partOf(squashfsStart(), 1, 1),
      partOf(extStart(), 2, 4, { group: 2 }),
      partOf(squashfsStart(), 1, 3, { group: 2, name: 'data' }),
      { type: 0, used: true },
    ]
    const name = images.file(makeSif({ parts: whole }))
    usingImage(name, (image) => {
      expect(image.type).toBe(IMAGE_TYPE.SIF)
      expect(image.partitions.map(({ id, name, allowedUsage }) => [id, name, allowedUsage])).toEqual([
        [4, ROOT_FS, IMAGE_USAGE.ROOT_FS],
        [2, 'own', IMAGE_USAGE.OVERLAY],
        [7, 'data', IMAGE_USAGE.DATA],
      ])
      expect(image.sections.map(({ id, type, name, size }) => [id, type, name, size])).toEqual([
        [1, SIF_TYPE.definition, '', 19],
        [3, SIF_TYPE.json, SIF_DESC_OCI_CONFIG_JSON, 2],
      ])
      expect(image.usage).toBe(7)
      expect(image.remarks).toEqual([expect.stringMatching(/^object 6 .* of another group/)])
      const ids = (list: readonly { readonly id: number }[]) => list.map(({ id }) => id)
      expect(ids(image.getAllPartitions())).toEqual([4, 2, 7])
      expect(image.getRootFsPartition().id).toBe(4)
      expect(ids(image.getRootFsPartitions())).toEqual([4])
      expect(ids(image.getOverlayPartitions())).toEqual([2])
      expect(ids(image.getDataPartitions())).toEqual([7])
      image.usage = IMAGE_USAGE.ROOT_FS
      expect(ids(image.getOverlayPartitions())).toEqual([])
      image.usage = 0
      expect(errorOf(() => image.getRootFsPartition())).toMatchObject({
        fault: 'no-partition',
        message: 'no root filesystem found',
      })
    })
  })

  test('overlays of a bare image are found once it is used as one', () => {
    usingImage(images.file(extStart()), (image) => {
      expect(image.getOverlayPartitions()).toEqual([])
      image.usage = IMAGE_USAGE.OVERLAY
      expect(image.getOverlayPartitions()).toHaveLength(1)
      expect(image.getRootFsPartitions()).toEqual([])
    })
  })

  test.each([
    ['none', [partOf(squashfsStart(), 1, 3)], [[1, 0, 4]]],
    ['two', [PRIMARY, PRIMARY, partOf(extStart(), 2, 4, { group: 2 })], [[3, 1, 2]]],
    ['raw', [partOf(Buffer.alloc(2048), 4, 2)], [[1, 5, 1]]],
    ['LUKS2', [partOf(Buffer.alloc(2048), 5, 2)], [[1, 4, 1]]],
    ['gocryptfs', [partOf(Buffer.alloc(2048), 6, 2)], [[1, 6, 1]]],
  ])('with primary partition: %s', (_, parts, expected) => {
    expect(partitionsOf(parts).partitions).toEqual(expected)
  })

  test('an encrypted root file system is known without its key', () => {
    for (const [kind, name] of [
      [5, 'encryptfs'],
      [6, 'gocryptfs'],
      [1, ''],
    ] as const) {
      usingImage(images.file(makeSif({ parts: [partOf(squashfsStart(), kind, 2)] })), (image) => {
        expect(image.encryptedRootFs()).toBe(name)
        expect(image.hasEncryptedRootFs()).toBe(name !== '')
      })
    }
  })

  test.each([
    [
      'is shorter than what is looked at',
      partOf(squashfsStart({ size: 2047 }), 1, 2),
      /^while checking system partition header: failed to read SIF partition at offset 32768: EOF$/,
    ],
    [
      'is no squashfs',
      partOf(extStart(), 1, 2),
      /^while checking system partition header: error while checking squashfs header: while parsing/,
    ],
    [
      'is ext4',
      partOf(extStart({ incompatible: 0x42 }), 2, 2),
      /^while checking system partition header: error while checking ext3 header: file is not a valid ext3 image$/,
    ],
    ['is an archive', partOf(squashfsStart(), 3, 2), /unknown filesystem type Archive$/],
    ['is of no known file system', partOf(squashfsStart(), 9, 2), /unknown filesystem type Unknown$/],
  ])('whose primary partition %s is an error', (_, root, message) => {
    expect(errorOf(() => initImage(images.file(makeSif({ parts: [root] })))).message).toMatch(message)
  })

  test('overlays that cannot be used are left out with a remark, where Apptainer says nothing', () => {
    const { partitions, remarks } = partitionsOf([
      PRIMARY,
      partOf(extStart({ incompatible: 0x42 }), 2, 4),
      partOf(squashfsStart(), 1, 3, { offset: -4096 }),
      partOf(squashfsStart(), 1, 3, { size: 2n ** 62n }),
    ])
    expect(partitions).toEqual([[1, 0, 1]])
    expect(remarks).toEqual([
      expect.stringMatching(/^object 2 .* is left out: error while checking ext3 header/),
      expect.stringMatching(/^object 3 .* is left out: it lies at byte -4096/),
      expect.stringMatching(/^object 4 .* which no file has$/),
    ])
  })

  test('other machines and free records are remarks, where Apptainer refuses the one and sees nothing for the other', () => {
    const machine = process.arch === 's390x' ? '06' : '11'
    const foreign = partOf(squashfsStart(), 1, 2, { partition: [1, 2, machine] })
    const { partitions, remarks } = partitionsOf([foreign], { free: 48 })
    expect(partitions).toEqual([[1, 0, 1]])
    expect(remarks).toEqual([
      expect.stringMatching(/^the image's architecture \(\w+\) could not run on the host's \(\w+\)$/),
      'the header calls all 48 records free, and 1 are in use',
    ])
  })

  test('readers give partitions and sections by name or by number, and end where the file does', async () => {
    const parts = [
      { type: SIF_TYPE.json, data: Buffer.from('nameless') },
      { type: SIF_TYPE.json, data: Buffer.from('{"a":1}'), name: SIF_DESC_INSPECT_METADATA_JSON },
      partOf(squashfsStart(), 1, 2),
      { type: SIF_TYPE.json, data: Buffer.from('the end'), size: 100_000, name: 'long' },
    ]
    const image = initImage(images.file(makeSif({ parts })))
    try {
      expect(await text(newSectionReader(image, SIF_DESC_INSPECT_METADATA_JSON))).toBe('{"a":1}')
      expect(await text(newSectionReader(image, '', 0))).toBe('nameless')
      // Apptainer takes the first one that has no name.
      expect(await text(newSectionReader(image, '', 1))).toBe('{"a":1}')
      expect(await text(newSectionReader(image, 'nope', 0))).toBe('nameless')
      expect(await text(newSectionReader(image, 'long'))).toBe('the end')
      expect((await text(newPartitionReader(image, ROOT_FS))).slice(0, 4)).toBe('hsqs')
      expect((await text(newPartitionReader(image, '', 0))).length).toBe(4096)
      const fails = (action: () => unknown, message: string, fault?: string) =>
        expect(errorOf(action)).toMatchObject({ message, ...(fault === undefined ? {} : { fault }) })
      fails(() => newPartitionReader(image, 'nope'), 'no partition found', 'no-partition')
      fails(() => newSectionReader(image, 'nope'), 'no section found', 'no-section')
      fails(() => newSectionReader(image, '', 3), 'index too large, image contains 3 sections')
      fails(() => newPartitionReader(image, '', 1), 'index too large, image contains 1 partitions')
      fails(() => newPartitionReader(image), 'no name or positive index provided')
      fails(() => newPartitionReader(undefined as unknown as Image, 'x'), 'image is nil')
      const late = newPartitionReader(image, ROOT_FS)
      image.close()
      await expect(text(late)).rejects.toMatchObject({ code: 'EBADF' })
      fails(() => newSectionReader(image, 'x'), 'image is not open for read')
    } finally {
      image.close()
    }
  })
})
