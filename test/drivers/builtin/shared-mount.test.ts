import { openSync } from 'node:fs'
import { expect, test } from 'vitest'
import { SharedMount } from '../../../src/drivers/builtin/shared/shared-mount.ts'
import { TreeMemories } from '../../../src/drivers/builtin/shared/tree-memories.ts'
import {
  allocateCounters,
  allocateRequestMemory,
  allocateShared,
  DEFAULT_KERNEL_OPTIONS,
  MountTable,
} from '../../../src/fuse/index.ts'

test('a mount that has left orders nothing: its place may be that of another one', async () => {
  const orders: string[] = []
  const newMount = (): SharedMount =>
    new SharedMount({
      mount: 0,
      fuseFd: openSync('/dev/null', 'r'),
      spec: { images: [], layers: [], plain: true, blockSize: 4096, imagePaths: [] },
      images: [],
      kernel: DEFAULT_KERNEL_OPTIONS,
      log: () => undefined,
      pool: { table: new MountTable(), shared: allocateShared(4096, 4096, 1) },
      requests: allocateRequestMemory(),
      trees: new TreeMemories(),
      cacheSize: 4096,
      counters: allocateCounters(),
      leave: () => orders.push('leave'),
    })
  const ended = newMount()
  ended.end({ reason: 'failed', message: 'a test' })
  // The dispatcher was quicker than the unmount.
  ended.left()
  await ended.running.stop()
  expect(orders).toEqual([])

  const alive = newMount()
  const stopped = alive.running.stop()
  expect(orders).toEqual(['leave'])
  alive.left()
  await stopped
})
