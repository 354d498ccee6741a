import { describe, expect, test } from 'vitest'
import { mountMetrics } from '../../../src/cli/commands/mount-metrics.ts'
import { formatFamilies } from '../../../src/cli/print/prometheus.ts'
import type { MountStatus } from '../../../src/daemon/client/control-client.ts'
import { readMetrics } from '../../library/programs/prometheus.ts'

describe('metrics', () => {
  test('labels and help texts come back as they were', () => {
    const value = 'a"b\\n\n}{,x="\u2028\ud83d\ude00'
    const text = formatFamilies([
      {
        name: 'a',
        type: 'gauge',
        help: 'x\\y\nz',
        samples: [{ labels: { one: value, two: '' }, value: 1.5 }],
      },
      { name: 'b_total', type: 'counter', help: 'b', samples: [{ labels: {}, value: 2 ** 60 }] },
      { name: 'c', type: 'gauge', help: 'without samples', samples: [] },
    ])
    expect(readMetrics(text)).toEqual([
      { name: 'a', labels: { one: value, two: '' }, value: 1.5 },
      { name: 'b_total', labels: {}, value: 2 ** 60 },
    ])
    expect(text).toContain('# HELP a x\\\\y\\nz\n')
  })

  test('paths with any bytes, and layers of one name, give different and valid series', () => {
    const layer = { label: '/d', state: 'verified', blocksChecked: 3, failures: 0 } as const
    const mount = {
      target: '/t\n"\\\udcff',
      source: '/s',
      driver: 'builtin',
      writable: false,
      uptimeSeconds: 1,
      rss: 2,
      cacheSize: 3,
      operations: { LOOKUP: 3, READ: 1 },
      counters: { requests: 4, openFiles: 0, cacheHits: 5, cacheMisses: 6, failedReads: 7 },
      pending: { reads: 1, oldestMs: 1500 },
      layers: [layer, { ...layer, state: 'failed', failures: 2 }],
    } as unknown as MountStatus
    const samples = readMetrics(formatFamilies(mountMetrics([mount])))
    const numbersOf = (name: string) => samples.filter((one) => one.name === name).map(({ value }) => value)
    expect(new Set(samples.slice(1).map(({ labels }) => labels['target']))).toEqual(
      new Set(['/t\\n"\\\\xff']),
    )
    expect(numbersOf('atomfs_fuse_oldest_pending_read_seconds')).toEqual([1.5])
    expect(numbersOf('atomfs_fuse_requests_total')).toEqual([3, 1])
    expect(numbersOf('atomfs_fuse_layer_verified')).toEqual([1, 0])
    expect(numbersOf('atomfs_fuse_layer_verification_failures_total')).toEqual([0, 2])
    expect(numbersOf('atomfs_fuse_image_reads_total')).toEqual([5, 6])
  })

  test.each([
    ['no type', '# HELP a x\na 1\n'],
    ['a counter by another name', '# HELP a x\n# TYPE a counter\na 1\n'],
    ['a series that comes twice', '# HELP a x\n# TYPE a gauge\na{b="1"} 1\na{b="1"} 2\n'],
    ['a quote in a label', '# HELP a x\n# TYPE a gauge\na{b="1"2"} 1\n'],
    ['a family in two places', '# HELP a x\n# TYPE a gauge\na 1\n# HELP a x\n# TYPE a gauge\na{b="2"} 1\n'],
    ['no newline at the end', '# HELP a x\n# TYPE a gauge\na 1'],
  ])('the reader of the tests refuses %s', (_, text) => {
    expect(() => readMetrics(text)).toThrow()
  })
})
