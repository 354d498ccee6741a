import { createHash, randomBytes } from 'node:crypto'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ENTRIES, LOADED } from '../../src/threads.ts'
import { appendVerityData } from '../../src/verity/index.ts'
import { toyArchive } from '../kinds/toy-archive.ts'
import { TOY_MEDIA_TYPE } from '../kinds/toy-kind.ts'
import {
  appendVerity,
  makeTempDir,
  mksquashfs,
  type RunResult,
  removeTempDir,
  run,
  withTarget,
  writeOciLayout,
} from '../library/index.ts'

/**
 * A format that lives in test/kinds/ only. The test builds the programs once more, each of them with one import more,
 * which is all that a format needs.
 */

const repository = fileURLToPath(new URL('../..', import.meta.url))
/** What a mount runs, and the file names that the programs look for. */
const PROGRAMS = {
  cli: 'src/cli/main.ts',
  loader: 'src/loader.ts',
  ...Object.fromEntries(Object.entries(ENTRIES).map(([name, file]) => [name, `src/${file}`])),
}
const LARGE = randomBytes(300_000)
const ARCHIVE = toyArchive({
  etc: undefined,
  'etc/toy': Buffer.from('from the archive\n'),
  'etc/both': Buffer.from('upper one\n'),
  large: LARGE,
  link: { link: 'etc/toy' },
})

let temp = ''

beforeAll(async () => {
  temp = makeTempDir()
  writeFileSync(join(temp, 'package.json'), '{"type":"module"}')
  symlinkSync(join(repository, 'node_modules'), join(temp, 'node_modules'))
  for (const [name, source] of Object.entries(PROGRAMS)) {
    const imports = [...(name === 'loader' ? [] : ['test/kinds/toy-kind.ts']), source].map(
      (path) => `import ${JSON.stringify(join(repository, path))}`,
    )
    writeFileSync(join(temp, `${name}.ts`), imports.join('\n'))
  }
  const scripts: readonly string[] = [...LOADED, 'loader']
  const options = {
    outdir: temp,
    bundle: true,
    platform: 'node',
    packages: 'external',
    logLevel: 'error',
  } as const
  await build({
    ...options,
    absWorkingDir: temp,
    entryPoints: Object.keys(PROGRAMS).flatMap((name) => (scripts.includes(name) ? [] : `${name}.ts`)),
    format: 'esm',
  })
  await build({
    ...options,
    absWorkingDir: temp,
    entryPoints: scripts.map((name) => `${name}.ts`),
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    define: { 'import.meta.url': '__fileUrl' },
  })
})

afterAll(() => removeTempDir(temp))

function program(...args: readonly string[]): Promise<RunResult> {
  return run(process.execPath, [join(temp, 'cli.js'), ...args], {
    timeout: 60_000,
    env: { ATOMFS_TEST_RUN_DIR: join(temp, 'run') },
    allowFailure: true,
  })
}

async function withMount(
  args: readonly string[],
  use: (target: string) => Promise<void> | void,
): Promise<void> {
  await withTarget(temp, async (target) => {
    expect(await program('mount', ...args, target)).toMatchObject({ status: 0, stderr: '' })
    await use(target)
    expect(await program('umount', target)).toMatchObject({ status: 0, stderr: '' })
  })
}

/** Where a descriptor leads; empty where it was closed meanwhile. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

describe('an image kind that only this test knows', () => {
  test('an added image kind is recognized as a bare file by its content, and shows every byte', async () => {
    const file = join(temp, 'image')
    writeFileSync(file, ARCHIVE)
    await withMount([file], async (target) => {
      expect(readFileSync(join(target, 'etc/toy'), 'utf8')).toBe('from the archive\n')
      expect(sha256(readFileSync(join(target, 'large')))).toBe(sha256(LARGE))
      expect(readlinkSync(join(target, 'link'))).toBe('etc/toy')
      expect((await run('find', [target, '-printf', '%P %y %m %s %T@\n'])).stdout.split('\n').sort()).toEqual(
        [
          '',
          ` d 755 0 1700000000.0000000000`,
          'etc d 755 0 1700000000.0000000000',
          'etc/both f 644 10 1700000000.0000000000',
          'etc/toy f 644 17 1700000000.0000000000',
          'large f 644 300000 1700000000.0000000000',
          'link l 777 7 1700000000.0000000000',
        ],
      )
    })
  })

  test('an added image kind is verified by block: a changed byte is EIO, and verify finds it', async () => {
    const file = join(temp, 'verified')
    writeFileSync(file, ARCHIVE)
    const { rootHash } = appendVerityData(file)
    await withMount(['--root-hash', rootHash, file], (target) => {
      expect(sha256(readFileSync(join(target, 'large')))).toBe(sha256(LARGE))
    })
    const bytes = readFileSync(file)
    const at = bytes.indexOf(LARGE.subarray(100_000, 100_016))
    bytes[at] = (bytes[at] ?? 0) ^ 1
    writeFileSync(file, bytes)
    const verdict = await program('verify', '--root-hash', rootHash, file)
    expect(verdict.status).toBe(1)
    expect(verdict.stdout + verdict.stderr).toMatch(
      /1 of \d+ blocks do not match[\s\S]*damaged file: \/large\n/,
    )
    await withMount(['--verify', 'lazy', '--root-hash', rootHash, file], (target) => {
      expect(() => readFileSync(join(target, 'large'))).toThrow(/EIO/)
      expect(readFileSync(join(target, 'etc/toy'), 'utf8')).toBe('from the archive\n')
    })
    truncateSync(file, 100)
    expect((await program('mount', file, temp)).stderr).toMatch(/^Error: .*\n$/)
  })

  test('an image of many blobs opens each when it is first read, and keeps at most 128 of them open', async () => {
    const oci = join(temp, 'blobs')
    const contents = Array.from({ length: 400 }, (_, i) => Buffer.concat([randomBytes(5000 + i), LARGE]))
    const digests = contents.map(sha256)
    const tree = contents.map(
      ({ length: size }, i) => [`f${i}`, { digest: `sha256:${digests[i]}`, size }] as const,
    )
    const toy = join(temp, 'blobs.cpio')
    writeFileSync(toy, toyArchive(Object.fromEntries(tree)))
    const layer = { file: toy, mediaType: TOY_MEDIA_TYPE, rootHash: appendVerityData(toy).rootHash }
    await writeOciLayout(oci, [{ tag: 'many', layers: [layer] }])
    const folder = join(oci, 'blobs/sha256')
    contents.forEach((content, i) => {
      if (i !== 7) writeFileSync(join(folder, digests[i] ?? ''), content)
    })
    rmSync(join(folder, digests[8] ?? ''))
    symlinkSync('/etc/passwd', join(folder, digests[8] ?? ''))
    expect((await program('mount', toy, temp)).stderr).toMatch(/^Error: .*: give OCIDIR:TAG\n$/)
    await withMount([`${oci}:many`], async (target) => {
      const [{ pid }] = JSON.parse((await program('status', '--json')).stdout)
      const openBlobs = (): number =>
        readdirSync(`/proc/${pid}/fd`).filter((fd) =>
          linkOf(`/proc/${pid}/fd/${fd}`).startsWith(`${folder}/`),
        ).length
      const before = openBlobs()
      for (const round of ['once', 'again']) {
        const names = contents.map((_, i) => i).filter((i) => i !== 7 && i !== 8)
        const read = await Promise.all(names.map((i) => readFile(join(target, `f${i}`))))
        expect(read.map(sha256), round).toEqual(names.map((i) => digests[i]))
        expect(openBlobs() - before).toBeGreaterThan(64)
        expect(openBlobs() - before).toBeLessThanOrEqual(128)
      }
      // A blob that is missing and one that leads out of the layout are errors of their files alone.
      await expect(readFile(join(target, 'f7'))).rejects.toThrow('EIO')
      await expect(readFile(join(target, 'f8'))).rejects.toThrow('EIO')
      writeFileSync(join(folder, digests[7] ?? ''), contents[7] ?? '')
      expect(sha256(await readFile(join(target, 'f7')))).toBe(digests[7])
    })
  })

  test('an added image kind merges with squashfs layers in an OCI image, and inspect shows both', async () => {
    const lower = join(temp, 'lower')
    mkdirSync(join(lower, 'etc'), { recursive: true })
    writeFileSync(join(lower, 'etc/both'), 'lower one\n')
    writeFileSync(join(lower, 'etc/squashfs'), 'from squashfs\n')
    const squashfs = join(temp, 'lower.sqfs')
    await mksquashfs(lower, squashfs)
    const toy = join(temp, 'layer.cpio')
    writeFileSync(toy, ARCHIVE)
    const oci = join(temp, 'oci')
    const layers = [
      { file: squashfs, rootHash: (await appendVerity(squashfs)).rootHash },
      { file: toy, mediaType: TOY_MEDIA_TYPE, rootHash: appendVerityData(toy).rootHash },
    ]
    await writeOciLayout(oci, [{ tag: 'both', layers }])
    await withMount([`${oci}:both`], (target) => {
      expect(readFileSync(join(target, 'etc/both'), 'utf8')).toBe('upper one\n')
      expect(readFileSync(join(target, 'etc/squashfs'), 'utf8')).toBe('from squashfs\n')
      expect(sha256(readFileSync(join(target, 'large')))).toBe(sha256(LARGE))
    })
    const report = JSON.parse((await program('inspect', '--json', `${oci}:both`)).stdout)
    expect(report.layers.map(({ kind, inodes }: { kind: string; inodes: number }) => [kind, inodes])).toEqual(
      [
        ['squashfs', 4],
        ['cpio', 6],
      ],
    )
    expect((await program('inspect', `${oci}:both`)).stdout).toContain(TOY_MEDIA_TYPE)
  })
})
