import { describe, expect, it } from 'vitest'
import { formatBytes } from '../../src/cli/format.ts'
import { formatReport } from '../../src/cli/inspect.ts'
import { formatTable } from '../../src/cli/table.ts'

/** What the table does not show. */
const SUMMARY = { options: {}, ids: 1, bytesUsed: 4000, flags: [], exportable: true }

describe('formatTable', () => {
  it('aligns columns without borders and without trailing blanks', () => {
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

  it('shows control characters as question marks', () => {
    expect(formatTable(['A'], [['x\u001b[2Jy\nz']])).toBe('A\nx?[2Jy?z\n')
  })
})

describe('inspect', () => {
  it('prints one line per layer', () => {
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

  it('writes sizes with units', () => {
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
