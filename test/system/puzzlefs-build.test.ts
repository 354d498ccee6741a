import { randomBytes } from 'node:crypto'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  atomfsFuse,
  mksquashfs,
  needs,
  run,
  titled,
  withAtomfs,
  withTempDir,
  writeOciLayout,
} from '../library/index.ts'
import { writeSchema } from '../puzzlefs/support/capnp.ts'

const need = needs('fuse')
const needCapnp = needs('capnp')
const needVerity = needs('fsverity')
const needSquashfs = needs('mksquashfs')

async function makeTree(root: string): Promise<void> {
  for (const path of ['dir/deep', 'many']) mkdirSync(join(root, path), { recursive: true })
  writeFileSync(join(root, 'text'), 'text '.repeat(100_000))
  writeFileSync(join(root, 'dir/noise'), randomBytes(600_000))
  writeFileSync(join(root, 'dir/.wh.name'), 'a name like any other\n')
  writeFileSync(join(root, 'dir/deep/empty'), '')
  for (let i = 0; i < 300; i++) writeFileSync(join(root, `many/${i}`), `file ${i}\n`.repeat(i))
  linkSync(join(root, 'text'), join(root, 'dir/link'))
  symlinkSync('../text', join(root, 'dir/symlink'))
  await run('mkfifo', [join(root, 'dir/fifo')])
  await run('chmod', ['4755', join(root, 'many/7')])
  await run('setfattr', ['-n', 'user.a', '-v', 'value', join(root, 'text')])
}

/** What tar tells of a tree, without times. */
const TAR =
  'tar -C "$0" --sort=name --mtime=@0 --xattrs --pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime -cf - . | sha256sum'

const blobs = (ociDir: string): string[] => readdirSync(join(ociDir, 'blobs/sha256')).sort()

/** The manifest of a tag, and the metadata that it names. */
function read(
  ociDir: string,
  tag = 'tag',
): {
  readonly manifest: string
  readonly rootfs: string
  readonly layers: readonly string[]
} {
  const blob = (digest: string): string => join(ociDir, 'blobs/sha256', digest.slice(7))
  const { manifests } = JSON.parse(readFileSync(join(ociDir, 'index.json'), 'utf8'))
  const wanted = manifests.find(
    ({ annotations }: { annotations: Record<string, string> }) =>
      annotations['org.opencontainers.image.ref.name'] === tag,
  )
  const manifest = blob(wanted.digest)
  const { layers } = JSON.parse(readFileSync(manifest, 'utf8'))
  return {
    manifest,
    rootfs: blob(layers[0].digest),
    layers: layers.map(({ mediaType }: { mediaType: string }) => mediaType),
  }
}

describe('a PuzzleFS image that is made', () => {
  test.skipIf(!need.ok)(
    titled(
      'shows the tree that it is made of, raw and compressed, and the same tree gives the same bytes',
      need,
    ),
    async () => {
      await withTempDir(async (temp) => {
        const tree = join(temp, 'tree')
        mkdirSync(tree)
        await makeTree(tree)
        const expected = (await run('sh', ['-c', TAR, tree])).stdout
        const program = join(temp, 'puzzlefs')
        symlinkSync(ATOMFS_FUSE, program)
        for (const flags of [[], ['-c']]) {
          const [one, two] = [join(temp, `one${flags.length}`), join(temp, `two${flags.length}`)]
          const built = await run(program, ['build', ...flags, tree, `${one}:tag`])
          await run(program, ['build', ...flags, tree, `${two}:tag`])
          expect(blobs(one)).toEqual(blobs(two))
          const [, digest = ''] =
            /^puzzlefs image manifest digest: ([0-9a-f]{64})\n$/.exec(built.stdout) ?? []
          await withAtomfs(
            temp,
            `${one}:tag`,
            async ({ target }) => {
              expect((await run('sh', ['-c', TAR, target])).stdout).toBe(expected)
            },
            ['--root-hash', digest],
          )
          expect(await atomfsFuse(['verify', `${one}:tag`])).toMatchObject({ status: 0 })
          expect((await atomfsFuse(['verify', '--json', `${one}:tag`])).stdout).not.toContain('remarks')
          const { layers } = read(one)
          expect(layers[0]).toBe('application/vnd.puzzlefs.image.rootfs.v1')
          expect(new Set(layers.slice(1))).toEqual(
            new Set([`application/vnd.puzzlefs.image.filedata.v1${flags.length === 0 ? '' : '+zstd'}`]),
          )
        }
        const inspected = await atomfsFuse(['inspect', `${temp}/one1:tag`])
        expect(inspected.stdout).toMatch(/\d+ chunks of [\d.]+ KiB/)
      })
    },
  )

  test.skipIf(!needVerity.ok)(titled('has the digests that fsverity computes', needVerity), async () => {
    await withTempDir(async (temp) => {
      mkdirSync(join(temp, 'tree'))
      await makeTree(join(temp, 'tree'))
      const { stdout } = await atomfsFuse(['convert', join(temp, 'tree'), `oci-puzzlefs:${temp}/oci:tag`])
      const { manifest, rootfs } = read(join(temp, 'oci'))
      const digestOf = async (file: string): Promise<string | undefined> =>
        (await run('fsverity', ['digest', '--compact', file])).stdout.trim()
      expect(stdout).toContain(`fs-verity digest of the manifest: ${await digestOf(manifest)}\n`)
      expect(readFileSync(manifest, 'utf8')).toContain(`"${await digestOf(rootfs)}"`)
    })
  })

  test.skipIf(!needCapnp.ok)(titled('has metadata that capnp decodes', needCapnp), async () => {
    await withTempDir(async (temp) => {
      mkdirSync(join(temp, 'tree'))
      await makeTree(join(temp, 'tree'))
      await atomfsFuse([
        'convert',
        '--uncompressed',
        'data',
        join(temp, 'tree'),
        `oci-puzzlefs:${temp}/oci:tag`,
      ])
      const schema = writeSchema(temp)
      const { rootfs } = read(join(temp, 'oci'))
      const { stdout } = await run('capnp', ['decode', schema, 'Rootfs'], {
        input: readFileSync(rootfs),
      })
      expect(stdout).toContain('manifestVersion = 3')
      expect(stdout.match(/ino = \d+,\s+mode/g)?.length).toBe(310)
      expect(stdout).toContain('symlinkTarget = "../text"')
      expect(stdout).not.toContain('compressed = true')
    })
  })

  test.skipIf(!needSquashfs.ok)(
    titled('of a layered image shows what a mount of that shows', needSquashfs),
    async () => {
      await withTempDir(async (temp) => {
        const [lower, upper] = [join(temp, 'lower'), join(temp, 'upper')]
        for (const path of [lower, upper]) mkdirSync(path)
        await makeTree(lower)
        mkdirSync(join(upper, 'many'))
        writeFileSync(join(upper, 'many/.wh.7'), '')
        writeFileSync(join(upper, 'many/new'), 'new\n')
        const layers = [
          { file: await mksquashfs(lower, `${lower}.sqfs`) },
          { file: await mksquashfs(upper, `${upper}.sqfs`) },
        ]
        await writeOciLayout(join(temp, 'layered'), [{ tag: 'tag', layers }])
        await atomfsFuse(['convert', '-q', `${temp}/layered:tag`, `oci-puzzlefs:${temp}/oci:tag`])
        await withAtomfs(
          temp,
          `${temp}/layered:tag`,
          async ({ target: one }) => {
            await withAtomfs(temp, `${temp}/oci:tag`, async ({ target: other }) => {
              const [expected, found] = [
                await run('sh', ['-c', TAR, one]),
                await run('sh', ['-c', TAR, other]),
              ]
              expect(found.stdout).toBe(expected.stdout)
              expect(existsSync(join(other, 'many/7'))).toBe(false)
            })
          },
          ['--allow-missing-verity'],
        )
      })
    },
  )

  test.skipIf(!needCapnp.ok || !need.ok)(
    titled('on top of another one keeps numbers and deletes names, and capnp decodes it', needCapnp),
    async () => {
      await withTempDir(async (temp) => {
        const tree = join(temp, 'tree')
        mkdirSync(tree)
        await makeTree(tree)
        const program = join(temp, 'puzzlefs')
        symlinkSync(ATOMFS_FUSE, program)
        const oci = join(temp, 'oci')
        await run(program, ['build', '-c', tree, `${oci}:base`])
        const before = blobs(oci).length
        rmSync(join(tree, 'many'), { recursive: true })
        rmSync(join(tree, 'text'))
        writeFileSync(join(tree, 'dir/new'), 'new\n')
        await run(program, ['build', '-c', '-b', 'base', tree, `${oci}:delta`])
        const expected = (await run('sh', ['-c', TAR, tree])).stdout
        await withAtomfs(temp, `${oci}:delta`, async ({ target }) => {
          expect((await run('sh', ['-c', TAR, target])).stdout).toBe(expected)
          // What had two names has one.
          expect((await run('stat', ['-c', '%h', join(target, 'dir/link')])).stdout).toBe('1\n')
        })
        // The data are those of the base but for one chunk or two.
        expect(blobs(oci).length).toBeLessThan(before + 12)
        const schema = writeSchema(temp)
        const { rootfs } = read(oci, 'delta')
        const { stdout } = await run('capnp', ['decode', schema, 'Rootfs'], {
          input: readFileSync(rootfs),
        })
        expect(stdout.match(/inodes = /g)?.length).toBe(2)
        expect(stdout.match(/mode = \(wht = void\)/g)?.length).toBe(1)
        const tags = await atomfsFuse(['inspect', '--json', `${oci}:base`])
        expect(JSON.parse(tags.stdout).layers[0].stored).toMatchObject({
          missing: 0,
          otherTags: 1,
          uniqueBytes: 0,
        })
      })
    },
  )

  test('that cannot be finished leaves nothing', async () => {
    await withTempDir(async (temp) => {
      const oci = join(temp, 'oci')
      mkdirSync(join(temp, 'tree'))
      writeFileSync(join(temp, 'tree/a'), randomBytes(900_000))
      await atomfsFuse(['convert', '-q', join(temp, 'tree'), `oci-puzzlefs:${oci}:one`])
      const before = blobs(oci)
      const largest = before
        .map((name) => join(oci, 'blobs/sha256', name))
        .sort((a, b) => statSync(b).size - statSync(a).size)
      const bytes = readFileSync(largest[0]!)
      bytes[5] = (bytes[5] ?? 0) ^ 1
      writeFileSync(largest[0]!, bytes)
      for (const target of [`${oci}:two`, `${temp}/other:two`]) {
        const failed = await atomfsFuse(['convert', '-q', `${oci}:one`, `oci-puzzlefs:${target}`], {
          allowFailure: true,
        })
        expect(failed.status).toBe(1)
        expect(failed.stderr).toMatch(/^Error: [^\n]* is damaged: its sha256 is \w{64}\n$/)
      }
      expect(blobs(oci)).toEqual(before)
      expect(existsSync(join(temp, 'other'))).toBe(false)
    })
  })
})
