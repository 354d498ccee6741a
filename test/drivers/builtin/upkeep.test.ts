import { expect, test } from 'vitest'
import { upkeep } from '../../../src/drivers/builtin/upkeep.ts'
import { allocateShared, WorkerPool } from '../../../src/fuse/index.ts'

/** What a dispatcher does while there are no requests. */

test('a quiet mount forgets its metadata before the main thread is told', () => {
  const done: string[] = []
  const { quietWork, pressureWork } = upkeep({
    pool: new WorkerPool(allocateShared(4096, 1 << 20, 1), () => undefined),
    runTask: () => undefined,
    log: (_, message) => done.push(message),
    forgetMetadata: () => done.push('metadata'),
    tellQuiet: () => done.push('told'),
  })
  quietWork()
  expect(done.splice(0)).toEqual(['metadata', 'told'])
  pressureWork()
  expect(done).toEqual(['memory is short: the cache is given back', 'metadata', 'told'])
})
