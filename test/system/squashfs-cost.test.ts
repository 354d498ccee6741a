import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SquashfsImage } from '../../squashfs/image.ts'
import { MetadataCache } from '../../squashfs/metadata/metadata-cache.ts'
import { openCodec } from '../../src/codecs/index.ts'
import { FileSource } from '../../src/sys/files/file-source.ts'
import { CountingSource } from '../squashfs/support/sources.ts'

const COUNT = 100_000
let work = ''
let fd = -1

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'squashfs-cost-'))
  mkdirSync(join(work, 'tree/d'), { recursive: true })
  for (let i = 0; i < COUNT; i++) writeFileSync(join(work, 'tree/d', nameOf(i)), '')
  execFileSync('mksquashfs', [join(work, 'tree'), join(work, 'image'), '-quiet', '-no-progress'], {
    timeout: 120_000,
    stdio: 'pipe',
  })
  fd = openSync(join(work, 'image'), 'r')
})

afterAll(() => {
  closeSync(fd)
  rmSync(work, { recursive: true, force: true })
})

function nameOf(i: number): string {
  return `file-${String(i).padStart(6, '0')}`
}

function openCounted(): { image: SquashfsImage; source: CountingSource; directory: number } {
  const source = new CountingSource(new FileSource(fd, 'image'))
  const metadataCache = new MetadataCache()
  const image = new SquashfsImage({ source, sourceId: 0, label: 'image', codec: openCodec, metadataCache })
  const directory = image.lookup(image.root, 'd')?.ref ?? -1
  source.reset()
  return { image, source, directory }
}

test('a lookup among 100 000 entries reads few blocks, for present and absent names', () => {
  for (const name of [nameOf(0), nameOf(50_000), nameOf(99_999), 'file-0500001', 'file-', 'zz', 'a']) {
    const { image, source, directory } = openCounted()
    const entry = image.lookup(directory, name)
    expect(entry?.name).toBe(/^file-\d{6}$/.test(name) ? name : undefined)
    if (entry !== undefined) image.stat(entry.ref)
    expect(source.reads, name).toBeLessThanOrEqual(5)
    expect(source.bytes, name).toBeLessThanOrEqual(5 * 16384)
  }
})

test('a listing with attributes reads each stored block about once', () => {
  const { image, source, directory } = openCounted()
  const { inodeTable, directoryTable, bytesUsed } = image.superblock
  const cursor = image.openDirectory(directory, 0)
  let count = 0
  for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
    expect(image.stat(entry.ref).size).toBe(0)
    count += 1
  }
  expect(count).toBe(COUNT)
  // A block that does not lie wholly in the read window is read again from its start: hence not exactly once.
  expect(source.bytes).toBeLessThan(1.5 * (bytesUsed - inodeTable))
  expect(directoryTable).toBeGreaterThan(inodeTable)
})

test('resuming a listing at any entry reads few blocks', () => {
  const { image, source, directory } = openCounted()
  let position = 0
  for (let i = 0; i < 60_000; i += 1) {
    const cursor = image.openDirectory(directory, position)
    expect(cursor.next()?.name).toBe(nameOf(i))
    if (i % 1000 !== 0) cursor.next()
    position = cursor.position
    if (i % 1000 !== 0) i += 1
  }
  const read = source.bytes
  expect(read).toBeLessThan(4 * image.superblock.bytesUsed)
})
