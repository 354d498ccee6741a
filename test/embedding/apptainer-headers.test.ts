import { describe, expect, test } from 'vitest'
import {
  checkExt3Header,
  checkSquashfsHeader,
  DRIVER_FEATURE,
  FsError,
  getSquashfsComp,
  IMAGE_TYPE,
  IMAGE_USAGE,
  ImageError,
  ROOT_FS,
  SIF_DESC_INSPECT_METADATA_JSON,
  SIF_DESC_OCI_CONFIG_JSON,
} from '../../src/index.ts'
import { behindLine, errorOf, extStart, LINE, squashfsStart } from '../library/images/apptainer-starts.ts'

/** Apptainer's package `image`: how headers are read. Its answers were obtained by running it; titles say where ours differ. */

describe('headers', () => {
  test.each([
    [1, 4, 'gzip'],
    [2, 4, 'lzma'],
    [3, 4, 'lzo'],
    [4, 4, 'xz'],
    [5, 4, 'lz4'],
    // Apptainer knows it since 1.4.0.
    [6, 4, 'zstd'],
    [1, 3, 'gzip'],
  ])('squashfs with compressor %d of version %d is %s', (compressor, major, name) => {
    const image = squashfsStart({ compressor, major })
    expect(checkSquashfsHeader(image.subarray(0, 2048))).toBe(0)
    expect(getSquashfsComp(image)).toBe(name)
    expect(checkSquashfsHeader(behindLine(image))).toBe(LINE.length)
  })

  test.each([
    [
      'no magic',
      Buffer.alloc(2048),
      'other-format',
      'while parsing squashfs super block: not a valid squashfs image',
      0,
    ],
    [
      '8 bytes',
      squashfsStart({ size: 30 }).subarray(0, 8),
      'other-format',
      "while parsing squashfs super block: can't find squashfs information header",
      0,
    ],
    [
      '31 bytes',
      squashfsStart({ size: 31 }),
      'other-format',
      "while parsing squashfs super block: can't read the top of the image",
      0,
    ],
    [
      'another byte order',
      Buffer.from('sqsh'.padEnd(2048, 'x')),
      'other-format',
      'while parsing squashfs super block: not a valid squashfs image',
      0,
    ],
    [
      'a line and nothing',
      behindLine(Buffer.alloc(2048)),
      'other-format',
      'while parsing squashfs super block: not a valid squashfs image',
      LINE.length,
    ],
    [
      'compressor 7',
      squashfsStart({ compressor: 7 }),
      'bad-header',
      'corrupted image: unknown compression algorithm value 7',
      0,
    ],
    [
      'compressor 0',
      squashfsStart({ compressor: 0 }),
      'bad-header',
      'corrupted image: unknown compression algorithm value 0',
      0,
    ],
  ] as const)(
    'squashfs with %s is an error that says where it was looked for',
    (_, bytes, fault, message, offset) => {
      expect(errorOf(() => checkSquashfsHeader(bytes))).toMatchObject({ fault, message, offset })
    },
  )

  test('the compressor of versions that are not known is an error, and of numbers that are not known nothing', () => {
    expect(getSquashfsComp(squashfsStart({ compressor: 9 }))).toBe('')
    expect(errorOf(() => getSquashfsComp(squashfsStart({ major: 5 }))).message).toBe(
      'not a valid squashfs image',
    )
    expect(errorOf(() => getSquashfsComp(Buffer.alloc(2048)))).toMatchObject({ fault: 'other-format' })
  })

  test('a launch line counts at the start of a file only, unlike there', () => {
    const image = squashfsStart()
    image.write(' run-singularity\n', 600)
    expect(checkSquashfsHeader(image)).toBe(0)
    const before = Buffer.concat([Buffer.from('echo run-singularity\n'), squashfsStart()])
    expect(errorOf(() => checkSquashfsHeader(before))).toMatchObject({ fault: 'other-format', offset: 0 })
  })

  test.each([
    ['as mke2fs makes it', {}],
    ['meta_bg and a journal to recover', { incompatible: 0x16 }],
    ['all that is read only', { readOnly: 7 }],
  ])('ext3 with features %s is ext3', (_, features) => {
    expect(checkExt3Header(extStart(features))).toBe(0)
    expect(checkExt3Header(behindLine(extStart(features)))).toBe(LINE.length)
  })

  test.each([
    ['no journal', { compatible: 0x38 }],
    ['extents', { incompatible: 0x42 }],
    ['64bit', { incompatible: 0x82 }],
    ['inline_data', { incompatible: 0x8002 }],
    ['metadata_csum', { readOnly: 0x403 }],
    ['dir_nlink', { readOnly: 0x23 }],
  ])('ext with %s is no ext3, and a hard error', (_, features) => {
    const message = 'file is not a valid ext3 image'
    expect(errorOf(() => checkExt3Header(extStart(features)))).toMatchObject({
      fault: 'bad-header',
      message,
      offset: 1080,
    })
  })

  test('what is no ext at all is another format', () => {
    const fault = 'other-format'
    const offset = 1080 + LINE.length
    expect(errorOf(() => checkExt3Header(behindLine(Buffer.alloc(2048))))).toMatchObject({ fault, offset })
    expect(errorOf(() => checkExt3Header(extStart().subarray(0, 1088))).message).toBe(
      "can't find ext3 information header",
    )
    expect(errorOf(() => checkExt3Header(extStart().subarray(0, 1100))).message).toBe(
      "can't read the top of the image",
    )
  })
})

test('the numbers are those of Apptainer 1.2.4', () => {
  expect(IMAGE_TYPE).toEqual({
    ...{ SQUASHFS: 4096, EXT3: 4097, SANDBOX: 4098, SIF: 4099 },
    ...{ ENCRYPTSQUASHFS: 4100, RAW: 4101, GOCRYPTFSSQUASHFS: 4102 },
  })
  expect(IMAGE_USAGE).toEqual({ ROOT_FS: 1, OVERLAY: 2, DATA: 4 })
  expect(DRIVER_FEATURE).toEqual({ IMAGE: 1, OVERLAY: 2, FUSE: 4 })
  expect([ROOT_FS, SIF_DESC_OCI_CONFIG_JSON, SIF_DESC_INSPECT_METADATA_JSON]).toEqual([
    '!__rootfs__!',
    'oci-config.json',
    'inspect-metadata.json',
  ])
  expect(new ImageError('no-section', 'x')).toBeInstanceOf(FsError)
})
