import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type DamageReport, nameDamage } from '../../src/molecule/damage.ts'
import { closeImage, openImage } from '../../src/molecule/image-file.ts'
import { type BuiltImage, build, directoryInode, fileInode, run } from '../squashfs/support/builder.ts'
import { cat } from '../squashfs/support/bytes.ts'

const PLAIN = 1 << 24
const DAMAGED = [{ start: 100, end: 101 }]

function damageOf({ bytes }: BuiltImage): DamageReport {
  const folder = mkdtempSync(join(tmpdir(), 'damage-'))
  const path = join(folder, 'image')
  writeFileSync(path, bytes)
  const spec = openImage({ label: 'test', path })
  try {
    return nameDamage(spec, DAMAGED)
  } finally {
    closeImage(spec)
    rmSync(folder, { recursive: true, force: true })
  }
}

test('a damaged file with two names is listed once', () => {
  const file = fileInode(1, { start: 96, size: 4000, blocks: [PLAIN | 4000] })
  const good = fileInode(2, { start: 4096, size: 9, blocks: [PLAIN | 9] })
  const listing = run(1, [
    { name: 'a', offset: 0, type: 2 },
    { name: 'b', offset: file.length, type: 2, delta: 1 },
    { name: 'c', offset: 0, type: 2 },
  ])
  const root = directoryInode(3, { size: listing.length })
  const image = build({
    data: new Uint8Array(4200),
    inodes: [file, good, root],
    directories: listing,
  })
  expect(damageOf(image)).toEqual({ files: ['/a'], structures: [], unreadable: 0, truncated: false })
})

test.each([true, false])(
  'the search for damaged files ends on a tree of 20^40 paths (root last: %j)',
  (rootIsLast) => {
    // 40 directories, each with 20 names for the next one; the deepest holds a file whose data are damaged.
    const levels = 40
    const file = fileInode(1, { start: 96, size: 4000, blocks: [PLAIN | 4000] })
    const refOfLevel = (level: number) =>
      (rootIsLast ? file.length : 0) + (rootIsLast ? level : levels - level) * 32
    const listings = Array.from({ length: levels + 1 }, (_, level) =>
      level === 0
        ? run(1, [{ name: 'file', offset: rootIsLast ? 0 : (levels + 1) * 32, type: 2 }])
        : run(
            1,
            Array.from({ length: 20 }, (_, i) => ({
              name: String.fromCharCode(97 + i),
              offset: refOfLevel(level - 1),
              type: 1,
            })),
          ),
    )
    let offset = 0
    const directories = listings.map((listing, level) => {
      offset += listing.length
      return directoryInode(level + 2, { size: listing.length, offset: offset - listing.length })
    })
    if (!rootIsLast) directories.reverse()
    const image = build({
      data: new Uint8Array(4200),
      inodes: rootIsLast ? [file, ...directories] : [...directories, file],
      root: rootIsLast ? levels + 1 : 0,
      directories: cat(...listings),
    })
    // Every level has one name that counts; what follows in it is refused, and said to be unreadable.
    expect(damageOf(image)).toEqual({
      files: [`${'/a'.repeat(levels)}/file`],
      structures: [],
      unreadable: levels,
      truncated: false,
    })
  },
)
