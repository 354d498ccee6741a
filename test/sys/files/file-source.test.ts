import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FileSource } from '../../../src/sys/files/file-source.ts'
import { WindowSource } from '../../../src/transforms/window.ts'

const CONTENT = Buffer.from(Array.from({ length: 10_000 }, (_, i) => (i * 13 + (i >> 8)) & 0xff))
let directory = ''
let path = ''
let fd = -1

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'file-source-'))
  path = join(directory, 'file')
  writeFileSync(path, CONTENT)
  fd = openSync(path, 'r')
})

afterAll(() => {
  closeSync(fd)
  rmSync(directory, { recursive: true })
})

const eio = expect.objectContaining({ code: 'EIO' })

test('a file source reads any range, also into shared memory and into the middle of a buffer', () => {
  const source = new FileSource(fd, 'f')
  expect([source.size, source.label]).toEqual([10_000, 'f'])
  const target = Buffer.alloc(5000)
  source.readInto(4321, target)
  expect(target.equals(CONTENT.subarray(4321, 9321))).toBe(true)
  const shared = new Uint8Array(new SharedArrayBuffer(300))
  source.readInto(9900, shared.subarray(100, 200))
  expect(Buffer.from(shared.subarray(100, 200)).equals(CONTENT.subarray(9900))).toBe(true)
  expect(shared[99]).toBe(0)
  expect(shared[200]).toBe(0)
  source.readInto(10_000, new Uint8Array(0))
})

test('a read outside the file is EIO', () => {
  const source = new FileSource(fd, 'f')
  expect(() => source.readInto(9_999, new Uint8Array(2))).toThrow(eio)
  expect(() => source.readInto(-1, new Uint8Array(1))).toThrow(eio)
  expect(() => source.readInto(Number.NaN, new Uint8Array(1))).toThrow(eio)
})

test('a read in a file that has become shorter is EIO and names its end', () => {
  const short = join(directory, 'short')
  writeFileSync(short, CONTENT)
  const shortFd = openSync(short, 'r')
  try {
    const source = new FileSource(shortFd, 'short')
    truncateSync(short, 6000)
    expect(() => source.readInto(5000, new Uint8Array(2000))).toThrow(/ends at 6000, expected 1000 more/)
  } finally {
    closeSync(shortFd)
  }
})

test('a read by a descriptor without read access is EIO', () => {
  const source = new FileSource(openSync('/', 'r'), 'dir', 100)
  try {
    expect(() => source.readInto(0, new Uint8Array(1))).toThrow(eio)
  } finally {
    closeSync(source.fd)
  }
})

test('a closed source reads nothing, also through a window: its descriptor may be another file by now', () => {
  const source = new FileSource(fd, 'f')
  const window = new WindowSource(source, 1000, 50)
  window.close()
  window.close()
  for (const one of [source, window]) {
    expect(() => one.readInto(0, new Uint8Array(1))).toThrow('f: read after it was closed')
    // Who asks need not wait for the error.
    expect(one.isAtHand(0, 1)).toBe(true)
    one.willNeed(0, 1)
  }
})

test('a window on a file shows only its part', () => {
  const window = new WindowSource(new FileSource(fd, 'f'), 1000, 50)
  const target = Buffer.alloc(50)
  window.readInto(0, target)
  expect(target.equals(CONTENT.subarray(1000, 1050))).toBe(true)
  expect(() => window.readInto(1, target)).toThrow(eio)
  expect(new WindowSource(window, 10).size).toBe(40)
  expect(() => new WindowSource(window, 51)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  expect(() => new WindowSource(window, 0, 51)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
})
