import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { withTimeout } from '../../src/sys/plain/promises.ts'
import { BlobKeeper } from '../../src/transforms/blob-keeper.ts'
import { allocateBlobs, type BlobsSpec, blobDescriptors, SharedBlobs } from '../../src/transforms/blobs.ts'
import { bundleProgram, makeTempDir, removeTempDir } from '../library/index.ts'
import type { BlobReading } from './blobs-main.ts'

const COUNT = 40

let temp = ''
let folder = -1
let spec: BlobsSpec
let files: readonly string[] = []

const nameOf = (blob: number): string => files[blob]!

beforeEach(() => {
  temp = makeTempDir()
  const names = Array.from({ length: COUNT }, (_, i) => String(i).padStart(4, '0'))
  names.forEach((name, i) => {
    const content = Buffer.alloc(4000)
    for (let at = 0; at < content.length; at += 4) content.writeUInt32LE(i, at)
    writeFileSync(join(temp, name), content)
  })
  folder = openSync(temp, 'r')
  files = [...names, 'miss', 'link', 'dire']
  spec = allocateBlobs(folder, files.length)
  symlinkSync('0001', join(temp, 'link'))
  mkdirSync(join(temp, 'dire'))
})

afterEach(() => {
  for (const fd of blobDescriptors(spec)) closeSync(fd)
  removeTempDir(temp)
})

describe('blobs that are opened when they are first needed', () => {
  test('the blob that was opened longest ago is closed first, and opened again when it is read', () => {
    const keeper = new BlobKeeper(spec, nameOf, 2)
    const blobs = new SharedBlobs(spec, 'image', (blob) => keeper.open(blob))
    const target = Buffer.alloc(8)
    for (const blob of [0, 1, 2, 0, 2, 1]) {
      blobs.readInto(blob, 16, target)
      expect(target.readUInt32LE(4)).toBe(blob)
      expect(blobs.isAtHand(blob, 0, 4000)).toBe(true)
      expect(keeper.count).toBeLessThanOrEqual(2)
    }
    expect([0, 1, 2].map((blob) => blobs.isAtHand(blob, 0, 1))).toEqual([true, true, false])
  })

  test('what cannot be opened or read is EIO each time, and nothing stays open for it', () => {
    const keeper = new BlobKeeper(spec, nameOf, 2)
    const reasons: string[] = []
    const blobs = new SharedBlobs(spec, 'image', (blob) => {
      try {
        keeper.open(blob)
      } catch (error) {
        reasons.push(String((error as { code?: unknown }).code))
      }
    })
    for (const blob of [COUNT, COUNT + 1, COUNT + 2, COUNT]) {
      expect(() => blobs.readInto(blob, 0, Buffer.alloc(1))).toThrow(/^image: blob 4[012]: cannot be opened/)
    }
    expect(reasons).toEqual(['ENOENT', 'ELOOP', 'EIO', 'ENOENT'])
    expect(keeper.count).toBe(0)
    expect(() => blobs.readInto(3, 3990, Buffer.alloc(20))).toThrow('image: blob 3: ends at 4000')
    expect(() => blobs.readInto(COUNT + 3, 0, Buffer.alloc(1))).toThrow('image: blob 43 of 43')
  })

  test('a blob that is expected is opened once, whoever says so, and one that is missing makes no failure', () => {
    const keeper = new BlobKeeper(spec, nameOf, 2)
    const wishes: string[] = []
    const blobs = new SharedBlobs(spec, 'image', (blob, wish) => {
      wishes.push(`${wish} ${blob}`)
      if (wish === 'expected') keeper.expect(blob)
      else keeper.open(blob)
    })
    for (const blob of [5, 5, COUNT, COUNT, COUNT + 3, -1]) blobs.expect(blob)
    expect(wishes).toEqual(['expected 5', `expected ${COUNT}`])
    expect(keeper.count).toBe(1)
    blobs.readInto(5, 16, Buffer.alloc(8))
    expect(wishes).toHaveLength(2)
    for (const blob of [6, 7]) blobs.readInto(blob, 16, Buffer.alloc(8))
    blobs.expect(5)
    expect(wishes.slice(2)).toEqual(['wanted 6', 'wanted 7', 'expected 5'])
  })

  test('several threads that read more blobs than may be open read the right bytes', async () => {
    const program = await bundleProgram(fileURLToPath(new URL('blobs-main.ts', import.meta.url)))
    const keeper = new BlobKeeper(spec, nameOf, 3)
    const reader = (step: number): Promise<number> =>
      new Promise((resolve, reject) => {
        const workerData: BlobReading = { spec, count: COUNT, reads: 4000, step }
        const worker = new Worker(program, { workerData })
        worker.on('error', reject)
        worker.on('message', (message: { readonly ask?: number; readonly wrong?: number }) => {
          if (message.ask !== undefined) keeper.open(message.ask)
          if (message.wrong !== undefined) resolve(message.wrong)
        })
      })
    const wrong = await withTimeout(Promise.all([1, 3, 11].map(reader)), 60_000, 'reading')
    expect(wrong).toEqual([0, 0, 0])
    expect(keeper.count).toBeLessThanOrEqual(3 + 3)
  })

  test('a thread that died while it used a blob keeps it open no longer', async () => {
    const program = await bundleProgram(fileURLToPath(new URL('blobs-main.ts', import.meta.url)))
    const keeper = new BlobKeeper(spec, nameOf, 1)
    // It waits for its first blob, which nobody opens.
    const workerData: BlobReading = { spec, count: COUNT, reads: 1, step: 1 }
    const worker = new Worker(program, { workerData })
    const { threadId } = worker
    const [{ ask }] = (await once(worker, 'message', { signal: AbortSignal.timeout(20_000) })) as [
      { ask: number },
    ]
    keeper.open(2)
    expect(keeper.count).toBe(1)
    await worker.terminate()
    const blobs = new SharedBlobs(spec, 'image', (blob) => keeper.open(blob))
    const open = (): boolean[] => [ask, 3].map((blob) => blobs.isAtHand(blob, 0, 1))
    blobs.readInto(ask, 0, Buffer.alloc(8))
    blobs.readInto(3, 0, Buffer.alloc(8))
    expect(open()).toEqual([true, true])
    keeper.forgetThread(threadId)
    for (const blob of [4, ask, 3]) blobs.readInto(blob, 0, Buffer.alloc(8))
    expect(open()).toEqual([false, true])
    expect(keeper.count).toBe(1)
  })
})
