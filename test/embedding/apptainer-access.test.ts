import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, test } from 'vitest'
import {
  DRIVER_FEATURE,
  getDriver,
  Image,
  type ImageDriver,
  initImage,
  newPartitionReader,
  ROOT_FS,
  registerDriver,
  UsageError,
} from '../../src/index.ts'
import {
  errorOf,
  extStart,
  ImageFolder,
  squashfsStart,
  usingImage,
} from '../library/images/apptainer-starts.ts'

/** Apptainer's package `image`: who may use an image, and who mounts it. Its answers were obtained by running it; titles say where ours differ. */

const images = new ImageFolder()
afterAll(() => images.remove())

describe('who may use an image', () => {
  test('the owner and the group are found by their names, in the order of the list', () => {
    const me = os.userInfo().username
    const group = execFileSync('id', ['-gn'], { encoding: 'utf8', timeout: 10_000 }).trim()
    usingImage(images.file(squashfsStart()), (image) => {
      expect(image.authorizedOwner([])).toBe(false)
      expect(image.authorizedOwner([me, 'no such user'])).toBe(true)
      expect(image.authorizedGroup([group, 'no such group'])).toBe(true)
      for (const name of ['no such user', String(process.getuid?.()), '', 'a\0b']) {
        expect(errorOf(() => image.authorizedOwner([name, me]))).toMatchObject({
          code: 'ENOENT',
          message: `failed to retrieve user information for ${name}: no such user`,
        })
      }
      expect(errorOf(() => image.authorizedGroup(['no such group'])).message).toMatch(
        /group information for no such/,
      )
      const others = fs
        .readFileSync('/etc/passwd', 'utf8')
        .split('\n')
        .map((line) => line.split(':')[0] ?? '')
      expect(image.authorizedOwner(others.filter((name) => name !== '' && name !== me))).toBe(false)
    })
  })

  test('a folder stands for what lies in it, and not for its neighbours', () => {
    const scratch = path.join(images.path, 'scratch')
    fs.mkdirSync(path.join(scratch, 'in'), { recursive: true })
    fs.mkdirSync(`${scratch}2`)
    fs.symlinkSync('scratch', path.join(images.path, 'scratch-link'))
    const name = path.join(`${scratch}2`, 'image')
    fs.writeFileSync(name, squashfsStart())
    const inside = path.join(scratch, 'in/image')
    fs.writeFileSync(inside, squashfsStart())
    usingImage(name, (image) => {
      // Apptainer before 1.5.1 compares texts.
      expect(image.authorizedPath([scratch])).toBe(false)
      expect(image.authorizedPath([`${scratch}2`])).toBe(true)
      expect(image.authorizedPath([name])).toBe(true)
      expect(image.authorizedPath(['/'])).toBe(true)
      expect(image.authorizedPath([])).toBe(false)
      expect(image.authorizedPath(['/', '/no/such'])).toBe(true)
      expect(errorOf(() => image.authorizedPath(['/no/such', '/']))).toMatchObject({
        code: 'ENOENT',
        message: expect.stringMatching(/^failed to resolve path \/no\/such: /),
      })
      for (const relative of ['', '.', 'scratch2']) {
        expect(errorOf(() => image.authorizedPath([relative]))).toBeInstanceOf(UsageError)
      }
    })
    usingImage(inside, (image) => {
      expect(image.authorizedPath([path.join(images.path, 'scratch-link')])).toBe(true)
      // What the descriptor leads to counts, not what lies at the path.
      fs.renameSync(inside, path.join(`${scratch}2`, 'moved'))
      expect(image.authorizedPath([scratch])).toBe(false)
      fs.rmSync(path.join(`${scratch}2`, 'moved'))
      expect(image.authorizedPath([`${scratch}2`])).toBe(true)
    })
  })

  test('a closed image has no owner', () => {
    const image = initImage(images.file(squashfsStart()))
    image.close()
    image.close()
    expect(errorOf(() => image.authorizedOwner(['root']))).toMatchObject({ code: 'EBADF' })
  })
})

describe('an image that another process describes', () => {
  test('it is opened by its descriptor', async () => {
    const image = initImage(images.file(squashfsStart()))
    try {
      const json = JSON.stringify(image)
      const copy = Image.fromJson(json)
      expect(copy.toJSON()).toEqual(JSON.parse(json))
      expect(copy.isOpen).toBe(false)
      copy.reInit()
      copy.reInit()
      expect(copy.isOpen).toBe(true)
      expect(copy.fd).not.toBe(image.fd)
      expect((await text(newPartitionReader(copy, ROOT_FS))).slice(0, 4)).toBe('hsqs')
      copy.close()
    } finally {
      image.close()
    }
  })

  test('a descriptor that is not open, and what is no description, are refused', () => {
    const json = { ...Image.fromJson(EMPTY).toJSON(), path: '/x', fd: 987_654 }
    expect(errorOf(() => Image.fromJson(json).reInit())).toMatchObject({ code: 'EBADF' })
    // As Go writes an image that is not open.
    const closed = `{"partitions":null,"sections":null,"path":"/x","name":"x","source":"","type":4096,"fd":18446744073709551615,"writable":false,"usage":1}`
    expect(errorOf(() => Image.fromJson(closed).reInit())).toMatchObject({ code: 'EBADF' })
    for (const wrong of [
      '{',
      '[]',
      '1',
      '{"fd":"x"}',
      { ...EMPTY, partitions: [{}] },
      { ...EMPTY, path: 'a\0' },
    ]) {
      expect(errorOf(() => Image.fromJson(wrong as string))).toBeInstanceOf(UsageError)
    }
  })

  const EMPTY = {
    ...{ partitions: [], sections: [], path: '/x', name: 'x', source: '', type: 0x1000, fd: -1 },
    ...{ writable: false, usage: 1 },
  }
})

describe('drivers', () => {
  const driver: ImageDriver = {
    mount: async () => {},
    start: async () => {},
    stop: async () => {},
    features: () => DRIVER_FEATURE.FUSE,
  }

  test('a driver is found by its name, which no other can take', () => {
    registerDriver('mine', driver)
    expect(getDriver('mine')).toBe(driver)
    expect(getDriver('nobody')).toBeUndefined()
    for (const [name, one, message] of [
      ['', driver, 'empty name'],
      ['mine', driver, 'mine is already registered'],
      ['atomfs-fuse', driver, 'atomfs-fuse is already registered'],
      ['other', undefined as unknown as ImageDriver, 'nil driver'],
    ] as const) {
      expect(errorOf(() => registerDriver(name, one)).message).toBe(message)
    }
    expect(getDriver('other')).toBeUndefined()
  })

  test('that of this program mounts images and overlays, and says what it does not mount', async () => {
    const own = getDriver('atomfs-fuse')!
    expect(own.features()).toBe(DRIVER_FEATURE.IMAGE | DRIVER_FEATURE.OVERLAY)
    await own.start({})
    await own.stop('')
    await own.stop(images.path)
    const mount = (filesystem: string, more = {}) =>
      own.mount({ source: images.file(extStart()), target: images.path, filesystem, ...more })
    await expect(mount('ext3')).rejects.toMatchObject({ code: 'EROFS' })
    await expect(mount('btrfs')).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    await expect(mount('squashfs', { fsOptions: ['nonsense'] })).rejects.toBeInstanceOf(UsageError)
    await expect(
      own.mount({ source: images.path, target: images.path, filesystem: 'squashfs' }),
    ).rejects.toThrow('is no image file')
  })
})
