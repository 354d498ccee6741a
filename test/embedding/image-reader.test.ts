import { createHash } from 'node:crypto'
import { getEventListeners, once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { SquashfsBlockReader } from '../../squashfs/block-reader.ts'
import { FsError } from '../../src/base/index.ts'
import { ImageReader } from '../../src/library/image/image-reader.ts'
import { openSquashfs } from '../../src/library/squashfs.ts'
import { appendVerityData } from '../../src/verity/index.ts'
import { withTempDir } from '../library/index.ts'
import {
  type BuiltImage,
  build,
  directoryInode,
  fileInode,
  inodeBase,
  open,
  run,
  withRoot,
} from '../squashfs/support/builder.ts'
import { text as bytesOf, cat, u32 } from '../squashfs/support/bytes.ts'
import { CountingSource, MemorySource, NO_CODEC } from '../squashfs/support/sources.ts'

const BLOBS = path.resolve(import.meta.dirname, '../../fixtures/oci/blobs/sha256')
const LAYER = path.join(BLOBS, 'f8ab5b3f5bd188531e259d0d8595b6c040d43963aeb08f338db9c318694b3803')

/** The root hash that the manifest of the fixture has for a layer. */
function rootHashOf(digest: string): string {
  for (const name of fs.readdirSync(BLOBS)) {
    const blob = fs.readFileSync(path.join(BLOBS, name), 'latin1')
    const found = new RegExp(`${digest}[^}]*atomfs_verity_root_hash":\\s*"([0-9a-f]+)"`).exec(blob)?.[1]
    if (found !== undefined) return found
  }
  throw new Error(`no root hash of ${digest}`)
}

function codeOf(action: () => unknown): string | undefined {
  try {
    action()
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
  return undefined
}

function readerOf(image: BuiltImage): { readonly reader: ImageReader; readonly source: CountingSource } {
  const source = new CountingSource(new MemorySource(image.bytes))
  const blocks = new SquashfsBlockReader(source, NO_CODEC)
  const reader = new ImageReader({ layer: open(image, { source }), blocks, blockSize: 4096, close: () => {} })
  return { reader, source }
}

function symlinkInode(number: number, target: string): Uint8Array {
  return cat(inodeBase(3, number, 0o777), u32(1), u32(target.length), bytesOf(target))
}

/** `/d/f` and links beside it, each with the given target. */
function linked(targets: Readonly<Record<string, string>>): ImageReader {
  const file = fileInode(1, { start: 96, size: 4, blocks: [0x0100_0004] })
  const inner = run(1, [{ name: 'f', offset: 0, type: 2 }])
  const directory = directoryInode(2, { size: inner.length })
  // All of them sort behind `d`.
  const names = Object.keys(targets).sort()
  const links = names.map((name, i) => symlinkInode(3 + i, targets[name]!))
  let offset = file.length + directory.length
  const entries = [{ name: 'd', offset: file.length, type: 1, delta: 1 }]
  for (const [i, name] of names.entries()) {
    entries.push({ name, offset, type: 3, delta: 2 + i })
    offset += links[i]!.length
  }
  const outer = run(1, entries)
  const root = directoryInode(3 + links.length, { size: outer.length, offset: inner.length })
  const image = build({
    data: bytesOf('data'),
    inodes: [file, directory, ...links, root],
    directories: cat(inner, outer),
  })
  return readerOf(image).reader
}

describe('openSquashfs', () => {
  test('the image reader lists, describes and reads files', async () => {
    const image = openSquashfs(LAYER)
    try {
      const found: string[] = []
      for await (const entry of image.entries('/')) found.push(`${entry.type} ${entry.path}`)
      expect(found.slice(0, 3)).toEqual(['directory /bin', 'file /bin/hello', 'symlink /bin/hey'])
      expect(await text(image.readStream('/etc/demo.conf'))).toBe('greeting = hello from the bottom layer\n')
      expect(image.stat('/etc/demo.conf').size).toBe(39)
      expect(image.readdir('/').map((entry) => entry.name)).toEqual(['bin', 'etc', 'var'])
      expect(image.readlink('/bin/hey')).toBe('hello')
    } finally {
      image.close()
    }
  })

  test('the image reader verifies an image with a root hash', async () => {
    const rootHash = rootHashOf(path.basename(LAYER))
    const image = openSquashfs(LAYER, { rootHash })
    expect(await text(image.readStream('/etc/demo.conf'))).toContain('hello')
    image.close()
    expect(
      codeOf(() => openSquashfs(LAYER, { rootHash: rootHash.replace(/^./, (c) => (c === '0' ? '1' : '0')) })),
    ).toBe('EIO')
    expect(codeOf(() => openSquashfs(LAYER, { rootHash: 'no hash' }))).toBe('EINVAL')
  })

  test('the image reader finds an image behind other bytes', async () => {
    await withTempDir(async (directory) => {
      const file = path.join(directory, 'bundle')
      fs.writeFileSync(file, Buffer.concat([Buffer.alloc(4096, 'x'), fs.readFileSync(LAYER)]))
      const image = openSquashfs(file, { offset: 4096 })
      expect(await text(image.readStream('/etc/demo.conf'))).toContain('hello')
      image.close()
      expect(codeOf(() => openSquashfs(file))).toBe('EINVAL')
      expect(codeOf(() => openSquashfs(path.join(directory, 'none')))).toBe('ENOENT')
    })
  })

  test('close closes the descriptor of the image reader, and later calls fail with EBADF', async () => {
    const before = fs.readdirSync('/proc/self/fd').length
    const image = openSquashfs(LAYER)
    const walk = image.entries('/')
    await walk.next()
    const stream = image.readStream('/etc/demo.conf')
    image.close()
    image.close()
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before)
    expect(codeOf(() => image.stat('/'))).toBe('EBADF')
    await expect(walk.next()).rejects.toMatchObject({ code: 'EBADF' })
    await expect(buffer(stream)).rejects.toMatchObject({ code: 'EBADF' })
  })
})

describe('arguments', () => {
  const any = (value: unknown): string => value as string

  test.each([
    ['no path', [any(undefined)], 'the path must be text, and it is undefined'],
    ['a path with a NUL', ['a\0b'], 'the path contains a NUL'],
    ['a negative offset', [LAYER, { offset: -1 }], 'offset -1 is no number of bytes'],
    ['a broken offset', [LAYER, { offset: 0.5 }], 'offset 0.5 is no'],
    ['an offset in text', [LAYER, { offset: any('0') as unknown as number }], 'offset 0 is no'],
    [
      'a root hash that is no text',
      [LAYER, { rootHash: any(null) }],
      'rootHash must be text, and it is null',
    ],
  ] as const)('openSquashfs refuses %s', (_, [file, options], message) => {
    const before = fs.readdirSync('/proc/self/fd').length
    expect(() => openSquashfs(file, options)).toThrow(message)
    expect(codeOf(() => openSquashfs(file, options))).toBe('EINVAL')
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before)
  })

  test('the image reader refuses paths and ranges that are none, and names the path', () => {
    const image = linked({ link: 'd/f' })
    expect(() => image.stat(any(undefined))).toThrow('the path must be text')
    expect(() => image.readStream(any(null))).toThrow('the path must be text')
    expect(() => image.readlink('/d')).toThrow('/d is no symbolic link')
    expect(() => image.readdir('/d/f')).toThrow('/d/f is no directory')
    for (const range of [{ start: 0.5 }, { end: 1.5 }, { end: Number.NaN }, { end: -1 }]) {
      expect(codeOf(() => image.readStream('/d/f', range))).toBe('EINVAL')
    }
    image.readStream('/d/f', { end: Number.POSITIVE_INFINITY }).destroy()
  })
})

describe('paths', () => {
  test('a path follows no link unless asked to', async () => {
    const image = linked({ link: 'd/f', way: 'd' })
    expect(image.readlink('/link')).toBe('d/f')
    expect(image.stat('/link').mode & 0o170000).toBe(0o120000)
    expect(codeOf(() => image.readStream('/link'))).toBe('ELOOP')
    expect(codeOf(() => image.stat('/way/f'))).toBe('ELOOP')
    expect(await text(image.readStream('/link', { follow: true }))).toBe('data')
    expect(await text(image.readStream('/way/f', { follow: true }))).toBe('data')
    expect(codeOf(() => image.readdir('/way'))).toBe('ENOTDIR')
    expect(image.readdir('/way', { follow: true }).map((entry) => entry.path)).toEqual(['/way/f'])
  })

  test('a path never leaves the image', async () => {
    const image = linked({
      from: '/d/f',
      higher: '../../../d/f',
      loop: 'loop',
      pair: 'riap',
      riap: 'pair',
    })
    expect(await text(image.readStream('/from', { follow: true }))).toBe('data')
    expect(await text(image.readStream('higher', { follow: true }))).toBe('data')
    expect(await text(image.readStream('/../../d/./f'))).toBe('data')
    expect(codeOf(() => image.stat('/loop', { follow: true }))).toBe('ELOOP')
    expect(codeOf(() => image.stat('/pair', { follow: true }))).toBe('ELOOP')
  })

  test('a path of a missing entry or one of the wrong type is refused', () => {
    const image = linked({ no: '' })
    expect(codeOf(() => image.stat('/none'))).toBe('ENOENT')
    expect(codeOf(() => image.stat('/d/f/x'))).toBe('ENOTDIR')
    expect(codeOf(() => image.stat('/d/f/..'))).toBe('ENOTDIR')
    expect(codeOf(() => image.stat('/no', { follow: true }))).toBe('ENOENT')
    expect(codeOf(() => image.readStream('/d'))).toBe('EISDIR')
    expect(codeOf(() => image.readlink('/d'))).toBe('EINVAL')
    expect(codeOf(() => image.readdir('/d/f'))).toBe('ENOTDIR')
    expect(codeOf(() => image.readStream('/d/f', { start: -1 }))).toBe('EINVAL')
    expect(codeOf(() => image.readStream('/d/f', { start: 3, end: 2 }))).toBe('EINVAL')
  })
})

describe('streams', () => {
  const content = Buffer.from(Array.from({ length: 40 * 4096 }, (_, i) => (i * 31) & 0xff))
  const blocks = Array.from({ length: 40 }, () => 0x0100_1000)
  const image = withRoot(
    [fileInode(1, { start: 96, size: content.length, blocks })],
    run(1, [{ name: 'f', offset: 0, type: 2 }]),
    { data: content },
  )

  test('a stream gives any part of a file', async () => {
    const { reader } = readerOf(image)
    for (const [start, end] of [
      [0, content.length],
      [1, 4097],
      [4096, 8192],
      [5000, 5000],
      [content.length - 1, content.length + 1000],
      [content.length + 5, content.length + 9],
    ] as const) {
      const got = await buffer(reader.readStream('/f', { start, end }))
      expect(got.equals(content.subarray(start, end))).toBe(true)
    }
  })

  test('a stream reads no more than its reader takes', async () => {
    const { reader, source } = readerOf(image)
    const stream = reader.readStream('/f')
    source.reset()
    const first = await new Promise<Buffer>((resolve, reject) => {
      stream.once('error', reject)
      stream.once('readable', () => resolve(stream.read(4096)))
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(first.equals(content.subarray(0, 4096))).toBe(true)
    // Beside what was taken, the buffer of the stream.
    expect(source.bytes).toBeLessThanOrEqual(stream.readableHighWaterMark + 2 * 4096)
    stream.destroy()
  })

  test('a stream ends with EIO at a block that does not match the root hash', async () => {
    await withTempDir(async (directory) => {
      const file = path.join(directory, 'image')
      const padding = Buffer.alloc(-image.bytes.length & 4095)
      fs.writeFileSync(file, Buffer.concat([image.bytes, padding]))
      const { rootHash } = appendVerityData(file)
      const fd = fs.openSync(file, 'r+')
      fs.writeSync(fd, Buffer.of(content[20 * 4096]! ^ 1), 0, 1, 96 + 20 * 4096)
      fs.closeSync(fd)
      const reader = openSquashfs(file, { rootHash })
      const pieces: Buffer[] = []
      const read = async (): Promise<void> => {
        for await (const piece of reader.readStream('/f')) pieces.push(piece)
      }
      await expect(read()).rejects.toMatchObject({ code: 'EIO' })
      const got = Buffer.concat(pieces)
      expect(got.equals(content.subarray(0, got.length))).toBe(true)
      expect(await buffer(reader.readStream('/f', { start: 30 * 4096 }))).toEqual(content.subarray(30 * 4096))
      reader.close()
      const unverified = openSquashfs(file)
      expect((await buffer(unverified.readStream('/f'))).length).toBe(content.length)
      unverified.close()
    })
  })

  test('a signal ends a stream, and the stream leaves nothing with the signal', async () => {
    const { reader } = readerOf(image)
    const aborter = new AbortController()
    const { signal } = aborter
    for (let i = 0; i < 100; i++) await buffer(reader.readStream('/f', { end: 10, signal }))
    expect(getEventListeners(signal, 'abort')).toEqual([])
    const stream = reader.readStream('/f', { signal })
    for await (const piece of stream) {
      expect(piece.length).toBe(4096)
      break
    }
    expect(stream.destroyed).toBe(true)
    const other = reader.readStream('/f', { signal })
    const read = buffer(other)
    aborter.abort()
    await expect(read).rejects.toMatchObject({ name: 'AbortError' })
    await expect(buffer(reader.readStream('/f', { signal }))).rejects.toMatchObject({ name: 'AbortError' })
    expect((await buffer(reader.readStream('/f'))).length).toBe(content.length)
  })

  test('a signal ends a walk with its reason', async () => {
    const reader = linked({ link: 'd/f' })
    const aborter = new AbortController()
    const found: string[] = []
    const walk = async (): Promise<void> => {
      for await (const { path } of reader.entries('/', { signal: aborter.signal })) {
        found.push(path)
        aborter.abort(new Error('enough'))
      }
    }
    await expect(walk()).rejects.toThrow('enough')
    await expect(walk()).rejects.toThrow('enough')
    expect(found).toEqual(['/d'])
  })

  test('many streams at once give each its own file, and those under way end when the image is closed', async () => {
    const { reader } = readerOf(image)
    const all = await Promise.all(
      Array.from({ length: 64 }, (_, i) => buffer(reader.readStream('/f', { start: i * 1000 }))),
    )
    for (const [i, bytes] of all.entries()) expect(bytes.equals(content.subarray(i * 1000))).toBe(true)
    const streams = Array.from({ length: 64 }, () => reader.readStream('/f'))
    for (const stream of streams) await once(stream, 'readable')
    reader.close()
    const ends = await Promise.allSettled(streams.map((stream) => buffer(stream)))
    expect(new Set(ends.map((end) => end.status === 'rejected' && end.reason.code))).toEqual(
      new Set(['EBADF']),
    )
  })

  test('walks and streams that are left half way keep no descriptor, and none after close', async () => {
    const count = (): number => fs.readdirSync('/proc/self/fd').length
    const before = count()
    for (let i = 0; i < 100; i++) {
      const opened = openSquashfs(LAYER)
      for await (const _ of opened.entries()) break
      await opened.entries().next()
      const stream = opened.readStream('/etc/demo.conf')
      await once(stream, 'readable')
      stream.destroy()
      expect(count()).toBe(before + 1)
      opened.close()
    }
    expect(count()).toBe(before)
  })

  test('the pieces of a stream do not change after they are read', async () => {
    const { reader } = readerOf(image)
    const pieces: Buffer[] = []
    for await (const piece of reader.readStream('/f', { start: 100 })) pieces.push(piece)
    const sum = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
    expect(sum(Buffer.concat(pieces))).toBe(sum(content.subarray(100)))
  })
})

describe('hostile images', () => {
  test('an entry whose type differs from its inode is EIO in the image reader', async () => {
    const file = fileInode(1, { size: 0 })
    const { reader } = readerOf(withRoot([file], run(1, [{ name: 'x', offset: 0, type: 3 }])))
    await expect(reader.entries('/').next()).rejects.toMatchObject({ code: 'EIO' })
  })

  test('the image reader shows the first of two entries with the same name', () => {
    const files = [fileInode(1, { size: 0 }), fileInode(2, { size: 0 })]
    const entries = [
      { name: 'a', offset: 0, type: 2 },
      { name: 'a', offset: files[0]!.length, type: 2, delta: 1 },
    ]
    const { reader } = readerOf(withRoot(files, run(1, entries)))
    expect(reader.readdir('/').map((entry) => entry.stat.ino)).toEqual([1])
  })

  test('the image reader does not walk a loop of directories forever', async () => {
    // Directories of names of 255 bytes, each in the next: 300 levels are more than a path may have.
    const inodes: Uint8Array[] = []
    const listings: Uint8Array[] = []
    let at = 0
    let below = 0
    for (let level = 0; level < 300; level++) {
      const listing =
        level === 0
          ? new Uint8Array(0)
          : run(
              level,
              [{ name: 'n'.repeat(255), offset: below % 8192, type: 1 }],
              8194 * Math.floor(below / 8192),
            )
      below = inodes.reduce((sum, inode) => sum + inode.length, 0)
      const block = Math.floor(at / 8192) * 8194
      inodes.push(directoryInode(level + 1, { size: listing.length, offset: at % 8192, block }))
      listings.push(listing)
      at += listing.length
    }
    const { reader } = readerOf(build({ inodes, directories: cat(...listings) }))
    let levels = 0
    const walk = async (): Promise<void> => {
      for await (const _ of reader.entries('/')) levels += 1
    }
    await expect(walk()).rejects.toMatchObject({ code: 'ENAMETOOLONG' })
    expect(levels).toBeGreaterThan(250)
  })
})
