import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import {
  IMAGE_TYPE,
  IMAGE_USAGE,
  initImage,
  isReadOnlyFilesystem,
  isUnknownFormat,
  ROOT_FS,
  resolvePath,
} from '../../src/index.ts'
import {
  behindLine,
  errorOf,
  extStart,
  ImageFolder,
  LINE,
  squashfsStart,
  usingImage,
} from '../library/images/apptainer-starts.ts'
import { makeSif } from '../library/images/sif.ts'

/** Apptainer's package `image`: what a file is taken for. Its answers were obtained by running it; titles say where ours differ. */

const images = new ImageFolder()
afterAll(() => images.remove())

describe('initImage', () => {
  const ALL = IMAGE_USAGE.ROOT_FS | IMAGE_USAGE.OVERLAY | IMAGE_USAGE.DATA

  test.each([
    ['squashfs', IMAGE_TYPE.SQUASHFS, squashfsStart()],
    ['ext3', IMAGE_TYPE.EXT3, extStart()],
  ])('a bare %s image has one partition for any use, also behind a launch line', (_, type, bytes) => {
    for (const [content, offset] of [
      [bytes, 0],
      [behindLine(bytes), LINE.length],
    ] as const) {
      const name = images.file(content)
      usingImage(name, (image) => {
        const { fd } = image
        expect(image.toJSON()).toEqual({
          partitions: [{ name: ROOT_FS, size: 4096, offset, id: 1, type, allowed_usage: ALL }],
          sections: [],
          path: name,
          name: path.basename(name),
          source: `/proc/self/fd/${fd}`,
          type,
          fd,
          writable: false,
          usage: IMAGE_USAGE.ROOT_FS,
        })
        expect(image).toMatchObject({ isOpen: true, remarks: [] })
        expect(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1')).toMatch(/flags:\t02\d*$/m)
      })
    }
  })

  test('a directory is an image whatever is in it, and stays as it was asked for', () => {
    const place = path.join(images.path, 'sandbox')
    fs.mkdirSync(place)
    fs.symlinkSync('sandbox', path.join(images.path, 'link'))
    usingImage(path.join(images.path, 'link'), (image) => {
      expect(image).toMatchObject({ type: IMAGE_TYPE.SANDBOX, path: place, name: 'sandbox', writable: false })
      expect(image.partitions).toEqual([
        { name: ROOT_FS, size: 0, offset: 0, id: 1, type: IMAGE_TYPE.SANDBOX, allowedUsage: ALL },
      ])
    })
    usingImage(place, (image) => expect(image.writable).toBe(true), true)
  })

  test.each([
    ['nothing that is known', Buffer.alloc(4096, 'x')],
    ['a squashfs of 2047 bytes', squashfsStart({ size: 2047 })],
    ['a text behind a launch line', behindLine(Buffer.alloc(4096, 'x'))],
    ['nothing', Buffer.alloc(0)],
  ])('%s is not recognized', (_, bytes) => {
    const error = errorOf(() => initImage(images.file(bytes)))
    expect(isUnknownFormat(error)).toBe(true)
    expect(error).toMatchObject({
      code: 'EINVAL',
      message: expect.stringMatching(/^image format not recognized/),
    })
    expect(isUnknownFormat(new Error('x'))).toBe(false)
  })

  test('an ext4 image, an unknown compressor and another SIF version are errors of their format', () => {
    expect(errorOf(() => initImage(images.file(extStart({ incompatible: 0x42 })))).message).toBe(
      'file is not a valid ext3 image',
    )
    expect(errorOf(() => initImage(images.file(squashfsStart({ compressor: 7 })))).message).toMatch(
      /^corrupted image: /,
    )
    const old = makeSif({ parts: [] })
    old.write('00', 42)
    expect(errorOf(() => initImage(images.file(old)))).toMatchObject({
      message: expect.stringContaining('SIF version "00"'),
    })
  })

  test('SIF_MAGIC somewhere in an image of another format changes nothing, unlike there', () => {
    const bytes = squashfsStart()
    bytes.write('SIF_MAGIC', 900)
    expect(usingImage(images.file(bytes), ({ type }) => type)).toBe(IMAGE_TYPE.SQUASHFS)
  })

  test('a FIFO is refused, and does not wait for a writer', () => {
    const fifo = path.join(images.path, 'fifo')
    execFileSync('mkfifo', [fifo], { timeout: 10_000 })
    expect(errorOf(() => initImage(fifo)).message).toMatch(/is neither a file nor a directory$/)
  })

  test('squashfs that was to be written comes with its error, open for reading', () => {
    const name = images.file(squashfsStart())
    const error = errorOf(() => initImage(name, true))
    if (!isReadOnlyFilesystem(error)) throw error
    expect(error).toMatchObject({
      code: 'EROFS',
      message: `could not set ${name} image writable: squashfs is a read-only filesystem`,
      image: { writable: false, isOpen: true, type: IMAGE_TYPE.SQUASHFS },
    })
    error.image.close()
    expect(error.image).toMatchObject({ isOpen: false, fd: -1 })
    expect(isReadOnlyFilesystem(errorOf(() => initImage('')))).toBe(false)
  })

  test('no descriptor is left open, whatever happens', () => {
    const names = [squashfsStart(), extStart(), Buffer.alloc(9), makeSif({ parts: [] })].map((bytes) =>
      images.file(bytes),
    )
    const open = () => fs.readdirSync('/proc/self/fd').length
    const before = open()
    for (const name of names) {
      for (const writable of [false, true]) {
        try {
          initImage(name, writable).close()
        } catch (error) {
          if (isReadOnlyFilesystem(error)) error.image.close()
        }
      }
    }
    expect(open()).toBe(before)
  })

  test('resolvePath follows links, and says what is wrong with a path', () => {
    const name = images.file(squashfsStart())
    fs.symlinkSync(name, path.join(images.path, 'to-image'))
    expect(resolvePath(path.join(images.path, 'to-image'))).toBe(name)
    expect(resolvePath(path.relative(process.cwd(), name))).toBe(name)
    expect(errorOf(() => resolvePath(''))).toMatchObject({
      code: 'EINVAL',
      message: 'failed to get absolute path: path is empty',
    })
    expect(errorOf(() => resolvePath('/no/such'))).toMatchObject({
      code: 'ENOENT',
      message: expect.stringMatching(/^failed to retrieve path for \/no\/such: /),
    })
  })
})
