import { describe, expect, test } from 'vitest'
import { FsError } from '../../../src/base/index.ts'
import { FETCH_SIZE, MAX_FETCHES } from '../../../src/fuse/blocks/shared-buffers.ts'
import {
  allocateShared,
  GatherReply,
  PooledFetcher,
  runDataWorker,
  TaskQueue,
  WorkerPool,
} from '../../../src/fuse/index.ts'
import { BLOCK, MemoryBlockStore } from '../support/memory-file-system.ts'

const SIZE = 1 << 20

function scene(workers = 2, images = 2) {
  const shared = allocateShared(BLOCK, 16 * BLOCK, workers)
  const pool = new WorkerPool(shared)
  const reads: string[] = []
  /** Reads that touch this byte fail. */
  const bad = new Set<number>()
  const store = Object.assign(new MemoryBlockStore(), {
    readRaw(source: number, position: number, target: Uint8Array): void {
      reads.push(`${source}:${position}+${target.length}`)
      for (const byte of bad) {
        if (byte < position || byte >= position + target.length) continue
        throw new FsError('EIO', 'broken', { cause: new FsError('ENOTCONN', 'gone') })
      }
      if (position + target.length > SIZE) throw new FsError('EIO', 'file ends')
      target.fill(source + 1)
    },
  })
  const fetcher = new PooledFetcher(pool, (image) => (image < images ? SIZE : 0))
  /** Lets one worker do everything that is queued, on this thread. */
  const drain = () => {
    new TaskQueue(shared).stop()
    runDataWorker({ shared, thread: 1, target: new GatherReply(-1, shared), store, log: () => undefined })
  }
  return { pool, fetcher, reads, bad, drain }
}

describe('a piece of an image', () => {
  test('a fetched piece includes as much of the following data as there is', () => {
    const { fetcher, drain, reads } = scene()
    const middle = fetcher.fetch(1, 4096, 100)
    const end = fetcher.fetch(0, SIZE - 200, 100)
    expect([middle.poll(), end.poll()]).toEqual([undefined, undefined])
    drain()
    expect(middle.poll()).toEqual({
      source: 1,
      position: 4096,
      length: 100,
      content: new Uint8Array(FETCH_SIZE).fill(2),
    })
    expect(end.poll()?.content).toEqual(new Uint8Array(200).fill(1))
    expect(reads).toEqual([`1:4096+${FETCH_SIZE}`, `0:${SIZE - 200}+200`])
  })

  test('a piece is fetched alone if the following data is damaged', () => {
    const { fetcher, drain, bad } = scene()
    bad.add(5000)
    const piece = fetcher.fetch(0, 4096, 100)
    piece.poll()
    drain()
    expect(piece.poll()?.content).toEqual(new Uint8Array(100).fill(1))
  })

  test('a piece that cannot be read reports the error', () => {
    const { fetcher, drain, bad } = scene()
    bad.add(4100)
    const piece = fetcher.fetch(0, 4096, 100)
    const short = fetcher.fetch(1, SIZE - 50, 100)
    for (const one of [piece, short]) one.poll()
    drain()
    expect(piece.poll()).toMatchObject({
      length: 100,
      content: { code: 'ENOTCONN', message: 'read at 4096: ENOTCONN (errno 107)' },
    })
    expect(short.poll()?.content).toMatchObject({ message: expect.stringContaining('file ends') })
  })

  test('a piece is read once for all requests at the same time, and again for later requests', () => {
    const { fetcher, drain, reads } = scene()
    const all = [fetcher.fetch(0, 4096, 4096), fetcher.fetch(0, 4096, 4096), fetcher.fetch(0, 5000, 10)]
    for (const one of all) one.poll()
    drain()
    for (const one of all) expect(one.poll()?.content).toBeInstanceOf(Uint8Array)
    expect(reads.length).toBe(1)
    const later = fetcher.fetch(0, 4096, 4096)
    later.poll()
    drain()
    expect(later.poll()?.position).toBe(4096)
    expect(reads.length).toBe(2)
  })

  test('a piece waits while pieces of its image occupy all workers but one, and other images do not wait', () => {
    const { fetcher, drain, reads } = scene(3)
    const of = (source: number, place: number) => fetcher.fetch(source, place * 100_000, 10)
    const pieces = [of(0, 0), of(0, 1), of(0, 2), of(1, 0)]
    for (const one of pieces) one.poll()
    drain()
    expect(reads.length).toBe(3)
    expect(pieces.map((one) => one.poll() !== undefined)).toEqual([true, true, false, true])
    drain()
    expect(pieces[2]?.poll()?.position).toBe(200_000)
  })

  test('a piece that no request waits for any more is collected and frees its place', () => {
    const { fetcher, drain, pool } = scene(2, 1)
    for (let round = 0; round < 4 * MAX_FETCHES; round++) {
      fetcher.fetch(0, round * 1000, 10).poll()
      drain()
    }
    const last = fetcher.fetch(0, 77, 10)
    last.poll()
    drain()
    expect(last.poll()?.content).toBeInstanceOf(Uint8Array)
    expect(pool.jobs.take()).not.toBe(undefined)
  })
})
