import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { atomfsFuse, needs, run, titled, withAtomfs, withTempDir } from '../library/index.ts'
import { readLog } from '../library/scenes/life.ts'
import { Random } from '../library/trees/random.ts'
import { type StoredChunk, seekable, stored } from '../puzzlefs/support/chunks.ts'
import { writePuzzleLayout } from '../puzzlefs/support/layout.ts'
import { buildRootfs, type ChunkDefinition, TAGS } from '../puzzlefs/support/rootfs-builder.ts'

const need = needs('fuse')

const random = new Random(6)
const TEXT = random.text(50_000)
const PACKED = stored(seekable(TEXT))
const SHARED = stored(random.bytes(20_000))
const piece = ({ digest }: StoredChunk, length: number, compressed = false): ChunkDefinition => ({
  digest,
  length,
  compressed,
})

/** Two tags that share a chunk; the first one has names that no file can have. */
function writeTags(ociDir: string): void {
  const image = (chunks: readonly StoredChunk[], pieces: readonly ChunkDefinition[]): Buffer =>
    buildRootfs({
      layers: [
        [
          {
            ino: 1,
            tag: TAGS.dir,
            permissions: 0o755,
            entries: [
              ['..', 2],
              ['a/b', 2],
              ['file', 2],
            ],
          },
          { ino: 2, tag: TAGS.file, chunks: pieces },
        ],
      ],
      chunks: [...chunks]
        .sort((a, b) => Buffer.compare(a.digest, b.digest))
        .map(({ digest, verity }) => [digest, verity] as const),
    })
  const both = [PACKED, SHARED]
  writePuzzleLayout(ociDir, [
    {
      tag: 'one',
      rootfs: image(both, [piece(PACKED, TEXT.length, true), piece(SHARED, 20_000)]),
      chunks: both,
    },
    { tag: 'two', rootfs: image([SHARED], [piece(SHARED, 20_000)]), chunks: [SHARED] },
  ])
}

describe('what is told of a PuzzleFS image', () => {
  test.skipIf(!need.ok)(
    titled('says chunks, compression and what no other tag has, and one line about hidden names', need),
    async () => {
      await withTempDir(async (temp) => {
        const ociDir = join(temp, 'oci')
        writeTags(ociDir)
        const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB`
        const all = kib(PACKED.bytes.length + SHARED.bytes.length)
        const chunks = `2 chunks of ${all}, ${kib(PACKED.bytes.length)} in no other of 1 tags`
        const { stdout: inspected } = await atomfsFuse(['inspect', `${ociDir}:one`])
        expect(inspected).toContain(`: ${chunks}\n`)
        expect(inspected).toContain(': 2 names that no file can have are not shown\n')
        expect(inspected).toMatch(/^sha256:\w{12} +[\d.]+ K?i?B +zstd /m)
        const { stdout: verified } = await atomfsFuse(['verify', `${ociDir}:one`])
        expect(verified).toContain(`: OK\n  ${chunks}, compressed with zstd\n`)
        const other = await atomfsFuse(['verify', '--json', `${ociDir}:two`])
        expect(JSON.parse(other.stdout).layers[0]).toMatchObject({
          compressor: 'none',
          stored: { count: 1, storedBytes: 20_000, missing: 0, uniqueBytes: 0, otherTags: 1 },
        })
        const runDir = join(temp, 'run')
        await withAtomfs(
          temp,
          `${ociDir}:one`,
          async ({ target }) => {
            await run('ls', ['-la', target])
            const { stdout } = await atomfsFuse(['status', target], { runDir })
            expect(stdout).toMatch(/^data: +2 chunks of sha256:\w{12}, compressed with zstd$/m)
            expect(readLog(runDir).match(/2 names that no file can have are not shown/g)).toHaveLength(1)
          },
          [],
          { runDir },
        )
      })
    },
  )
})
