import { CommanderError } from 'commander'
import { describe, expect, test } from 'vitest'
import { formatReport } from '../../../src/cli/commands/inspect.ts'
import { formatMount, formatMounts } from '../../../src/cli/commands/status.ts'
import { formatVerdicts } from '../../../src/cli/commands/verify.ts'
import { formatBytes } from '../../../src/cli/print/format.ts'
import { formatTable } from '../../../src/cli/print/table.ts'
import { formatError } from '../../../src/cli/program/program.ts'
import { formatLine, formatSyslog } from '../../../src/daemon/life/log.ts'
import type { MountStatus } from '../../../src/daemon/serve/control-protocol.ts'

/** What the table does not show. */
const SUMMARY = { kind: 'squashfs', options: {}, ids: 1, bytesUsed: 4000, flags: [], exportable: true }

describe('formatTable', () => {
  test('a table has aligned columns without borders and without trailing blanks', () => {
    expect(
      formatTable(
        ['A', 'LONG'],
        [
          ['longer', 'x'],
          ['y', ''],
        ],
      ),
    ).toBe('A       LONG\nlonger  x\ny\n')
  })

  test('a table escapes characters that cannot be printed', () => {
    expect(formatTable(['A'], [['x\u001b[2Jy\nz']])).toBe('A\nx\\x1b[2Jy\\nz\n')
  })
})

describe('inspect', () => {
  test('the report of an image has one line per layer', () => {
    const text = formatReport({
      source: 'oci:web',
      manifestDigest: `sha256:${'ab'.repeat(32)}`,
      layers: [
        {
          label: `sha256:${'0123456789abcdef'.repeat(4)}`,
          mediaType: 'application/vnd.stacker.image.layer.squashfs+zstd+verity',
          size: 1_572_864,
          compressor: 'zstd',
          blockSize: 131072,
          inodes: 17,
          fragments: 3,
          mkfsTime: 1_700_000_000,
          ...SUMMARY,
          hasXattrs: true,
          verity: { present: true, algorithm: 'sha256' },
        },
        {
          label: '/images/x.sqfs',
          size: 4096,
          compressor: 'gzip',
          blockSize: 4096,
          inodes: 1,
          fragments: 0,
          mkfsTime: 0,
          ...SUMMARY,
          hasXattrs: false,
          verity: 'no',
        },
      ],
    })
    const lines = text.split('\n')
    expect(lines[0]).toBe('source: oci:web')
    expect(lines[1]).toContain('sha256:abab')
    expect(lines[4]).toMatch(
      /^sha256:0123456789ab +1\.5 MiB +zstd +128 KiB +17 +3 +2023-11-14T22:13:20Z +yes +sha256, no root hash +application/,
    )
    expect(lines[5]).toMatch(/^\/images\/x\.sqfs +4 KiB +gzip +4 KiB +1 +0 +1970-01-01T00:00:00Z +no +no +-$/)
  })

  test('sizes are printed with units', () => {
    expect([0, 1023, 1024, 1536, 2 ** 30, 2 ** 50].map(formatBytes)).toEqual([
      '0 B',
      '1023 B',
      '1 KiB',
      '1.5 KiB',
      '1 GiB',
      '1024 TiB',
    ])
  })
})

describe('names that would change what a terminal shows', () => {
  const EVIL = 'a\nb\u001b[2J\u202egnp\u2028\u009b\udcff'
  const SHOWN = 'a\\nb\\x1b[2J\\u202egnp\\u2028\\u009b\\xff'
  const counters = { requests: 1, cacheHits: 0, cacheMisses: 0, failedReads: 0 } as MountStatus['counters']
  const layer = {
    label: EVIL,
    state: 'failed',
    blocksChecked: 1,
    failures: 1,
  } as MountStatus['layers'][number]
  const mount: MountStatus = {
    target: EVIL,
    source: EVIL,
    pid: 1,
    uptimeSeconds: 1,
    driver: 'builtin',
    writable: false,
    rss: 1,
    pending: { reads: 0, oldestMs: 0 },
    operations: {},
    counters,
    cacheSize: 1,
    layers: [layer],
  }
  const damage = { structures: [EVIL], files: [EVIL], truncated: false, unreadable: 0 }
  const verdict = { label: EVIL, state: 'failed', bytes: 0, message: EVIL, blocks: [], damage } as const

  test.each([
    ['an error', formatError(new Error(EVIL)), 1, 1],
    ['a suggestion', formatError(new CommanderError(1, 'x', 'error: no\n(Did you mean --y?)')), 0, 1],
    ['a log line', formatLine('info', EVIL), 1, 1],
    ['a line for syslog', `${formatSyslog('info', EVIL)}\n`, 1, 1],
    ['the table of mounts', formatMounts([mount]), 2, 2],
    ['one mount', formatMount(mount), 3, 8],
    ['a verdict', formatVerdicts({ layers: [verdict], bytes: 0, seconds: 0 }), 4, 4],
    ['inspect', formatReport({ source: EVIL, manifestDigest: EVIL, layers: [] }), 2, 4],
  ])('names that would change what a terminal shows are escaped in %s', (_, text, times, lines) => {
    expect(text.split(SHOWN)).toHaveLength(times + 1)
    expect(text.split('\n')).toHaveLength(lines + 1)
    expect(text).not.toMatch(/[\p{Cs}\p{Zl}\u202e]|(?!\n)\p{Cc}/u)
  })

  test('an error with a suggestion is printed on one line', () => {
    expect(formatError(new CommanderError(1, 'x', 'error: no\n(Did you mean --y?)'))).toBe(
      'Error: no (Did you mean --y?)\n',
    )
  })
})
