import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { FileOutput, SquashfsWriter, type WriterOptions } from '../../../squashfs/write/index.ts'
import { S_IFDIR, S_IFLNK, S_IFREG } from '../../../src/base/index.ts'
import { openSquashfs } from '../../../src/library/squashfs.ts'
import { withTempDir } from '../../library/index.ts'

const OWNER = { uid: 0, gid: 0, mtime: 7 } as const
const FILE = { ...OWNER, mode: S_IFREG | 0o644 } as const
const DIRECTORY = { ...OWNER, mode: S_IFDIR | 0o755 } as const

type Image = ReturnType<typeof openSquashfs>

/** Writes an image and looks into it. */
async function withImage(
  fill: (writer: SquashfsWriter) => Promise<void>,
  look: (image: Image) => void | Promise<void> = () => undefined,
  options: Partial<WriterOptions> = {},
): Promise<void> {
  await withTempDir(async (temp) => {
    const file = join(temp, 'image')
    const fd = openSync(file, 'w+')
    try {
      const all = { name: 'gzip', level: 1, blockSize: 4096, ...options } as const
      const writer = new SquashfsWriter(new FileOutput(fd, file), all)
      await fill(writer)
      await writer.finish()
    } finally {
      closeSync(fd)
    }
    const image = openSquashfs(file)
    try {
      await look(image)
    } finally {
      image.close()
    }
  })
}

test.each(['forwards', 'backwards'])(
  'hard links that lead to each other %s, and to a file that comes last, are names of it',
  async (order) => {
    const count = 10_000
    await withImage(
      async (writer) => {
        for (let i = 0; i < count; i++) {
          const at = order === 'forwards' ? i : count - 1 - i
          writer.link(`l${at}`, at === count - 1 ? 'f' : `l${at + 1}`)
        }
        await writer.add('f', FILE)
      },
      (image) => {
        const { nlink, ino } = image.stat('/f')
        expect(nlink).toBe(count + 1)
        expect(image.stat(`/l${count / 2}`).ino).toBe(ino)
      },
    )
  },
)

test('an entry that comes behind a hard link of its path replaces it', async () => {
  await withImage(
    async (writer) => {
      writer.link('a', 'f')
      writer.link('b', 'f')
      await writer.add('a', { ...FILE, size: 3, content: [Buffer.from('own')] })
      await writer.add('f', FILE)
    },
    (image) => {
      expect(image.stat('/a')).toMatchObject({ size: 3, nlink: 1 })
      expect(image.stat('/b')).toMatchObject({ size: 0, nlink: 2 })
    },
  )
})

test('hard links in a circle are refused with their names', async () => {
  const circle = withImage(async (writer) => {
    writer.link('a', 'b')
    writer.link('b', 'a')
  })
  await expect(circle).rejects.toThrow(/hard link "a": there is no "b"/)
})

test.each<[what: string, fill: (writer: SquashfsWriter) => Promise<void>, message: RegExp]>([
  [
    'a link target with a NUL',
    (writer) => writer.add('l', { ...OWNER, mode: S_IFLNK | 0o777, target: Buffer.from('a\0b') }),
    /"l": link target with a NUL in it/,
  ],
  [
    'an attribute with a NUL in its name',
    (writer) => writer.add('f', { ...FILE, xattrs: [['user.a\0b', Buffer.from('x')]] }),
    /"f": attribute "user.a\\u0000b": a NUL in its name/,
  ],
  ['a path with a NUL', (writer) => writer.add('a\0b', FILE), /has a NUL in it/],
  ['an id of 33 bits', (writer) => writer.add('f', { ...FILE, uid: 2 ** 32 }), /"f": id 4294967296/],
  ['an id that is negative', (writer) => writer.add('f', { ...FILE, gid: -1 }), /"f": id -1/],
  [
    'files of more blocks than memory is there for, all together',
    async (writer) => {
      await writer.add('f', { ...FILE, size: 9000, content: [Buffer.alloc(9000, 1)] })
      await writer.add('g', { ...FILE, size: 2 ** 40 - 4096 })
    },
    /"g": 1099511623680 bytes, the image has with more than 268435456 blocks: choose a larger --block-size/,
  ],
])('%s is refused', async (_, fill, message) => {
  await expect(withImage(fill)).rejects.toThrow(message)
})

test('copies of large files take no blocks of the table', async () => {
  const content = Buffer.alloc(5 << 20)
  for (let at = 0; at < content.length; at += 4096) content.writeUInt32LE(at + 1, at)
  await withImage(
    async (writer) => {
      await writer.add('d', DIRECTORY)
      for (let i = 0; i < 5; i++)
        await writer.add(`d/${i}`, { ...FILE, size: content.length, content: [content] })
      await writer.add('d/last', { ...FILE, size: 9000, content: [content.subarray(4096, 13_096)] })
    },
    async (image) => {
      const bytesOf = (path: string): Promise<Buffer> => buffer(image.readStream(path))
      for (let i = 0; i < 5; i++) expect((await bytesOf(`/d/${i}`)).equals(content)).toBe(true)
      expect((await bytesOf('/d/last')).equals(content.subarray(4096, 13_096))).toBe(true)
    },
  )
})

test('equal sets of attributes are one, and values of digests are no keys of others', async () => {
  const long = Buffer.alloc(5000, 'value')
  const sets = [long, Buffer.alloc(5000, 'other'), long, Buffer.from('short'), Buffer.from('x'.repeat(32))]
  await withImage(
    async (writer) => {
      for (const [i, value] of sets.entries())
        await writer.add(`${i}`, {
          ...FILE,
          xattrs: [
            ['user.a', value],
            ['trusted.b', value],
          ],
        })
    },
    (image) => {
      for (const [i, value] of sets.entries()) {
        expect(Buffer.from(image.xattrs(`/${i}`).get('user.a') ?? [])).toEqual(value)
        expect(Buffer.from(image.xattrs(`/${i}`).get('trusted.b') ?? [])).toEqual(value)
      }
    },
  )
})
