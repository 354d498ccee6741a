import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AS_SOURCE,
  archiveLayer,
  atomfsFuse,
  buildLayers,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  needs,
  removeTempDir,
  run,
  type TreeEntry,
  titled,
  walkTree,
  withAtomfs,
  writeTarImage,
} from '../library/index.ts'

const need = needs('root', 'fuse', 'tar', 'umoci', 'skopeo')
const temp = makeTempDir()
const layout = join(temp, 'layout')
const oci = join(temp, 'oci.tar')
const docker = join(temp, 'docker.tar')
/** Names that a layer above has deleted still count as links of a file, as in overlayfs. */
const AS_UNPACKED = { ...AS_SOURCE, ignore: ['blocks', 'nlink'] } as const
let unpacked: readonly TreeEntry[] = []

/** umoci loses attributes whose value is empty. */
function withoutEmpty(entries: readonly TreeEntry[]): TreeEntry[] {
  return entries.map(({ xattrs, ...entry }): TreeEntry => {
    const full = Object.entries(xattrs ?? {}).filter(([, value]) => value !== '')
    return full.length === 0 ? entry : { ...entry, xattrs: Object.fromEntries(full) }
  })
}

async function refused(args: readonly string[]): Promise<string> {
  const { status, stderr } = await atomfsFuse(args, { allowFailure: true })
  expect({ status, lines: stderr.trimEnd().split('\n').length }).toEqual({ status: 1, lines: 1 })
  return stderr
}

beforeAll(async () => {
  process.env['ATOMFS_STORE'] = join(temp, 'store')
  if (!need.ok) return
  const folder = join(temp, 'layers')
  mkdirSync(join(folder, 'layer0'), { recursive: true })
  buildSourceTree(join(folder, 'layer0'), { size: 'small' })
  const above = join(folder, 'above')
  mkdirSync(above)
  const others = buildLayers(above, { seed: 8, form: 'user', count: 2 })
  const archives = await Promise.all([join(folder, 'layer0'), ...others].map(archiveLayer))
  writeTarImage(layout, { tag: 'v1', layers: archives, config: { config: { Env: ['A=1'], Cmd: ['sh'] } } })
  const copy = ['--insecure-policy', 'copy', '-q', `oci:${layout}:v1`]
  await run('skopeo', [...copy, `oci-archive:${oci}:v1`])
  await run('skopeo', [...copy, `docker-archive:${docker}:example/image:v1`])
  await run('umoci', ['unpack', '--image', `${layout}:v1`, join(temp, 'bundle')])
  unpacked = walkTree(join(temp, 'bundle', 'rootfs'))
})
afterAll(() => removeTempDir(temp))

const SOURCES = [
  ['oci-archive', `oci-archive:${oci}:v1`],
  ['docker-archive', `docker-archive:${docker}:example/image:v1`],
] as const

describe.skipIf(!need.ok)(titled('an image in an archive by skopeo', need), () => {
  test.each(SOURCES)('is shown as umoci unpacks it: %s', async (_, source) => {
    const shown = await withAtomfs(temp, source, ({ target }) => walkTree(target))
    expect(compareTrees(withoutEmpty(shown), unpacked, AS_UNPACKED)).toEqual([])
  })

  test.each(SOURCES)('is listed, printed, extracted, inspected and verified: %s', async (name, source) => {
    const out = join(temp, `${name}-extracted`)
    await atomfsFuse(['extract', source, out, '--quiet'])
    const ignore = [...AS_UNPACKED.ignore, 'xattrs'] as const
    expect(compareTrees(walkTree(out), unpacked, { ...AS_UNPACKED, ignore })).toEqual([])
    const file = unpacked.find(({ type, size }) => type === 'file' && (size ?? 0) > 100)!
    const { bytes } = await atomfsFuse(['cat', source, file.path])
    expect(bytes.equals(readFileSync(join(temp, 'bundle/rootfs', file.path)))).toBe(true)
    expect((await atomfsFuse(['ls', source, '/'])).stdout.split('\n')).toContain(
      unpacked[1]!.path.split('/')[0],
    )
    expect((await atomfsFuse(['verify', source])).stdout.match(/: OK$/gm)).toHaveLength(3)
    const { layers } = JSON.parse((await atomfsFuse(['inspect', '--json', source])).stdout)
    expect(layers).toHaveLength(3)
  })

  test('needs no name where it is the only one, and has numbers', async () => {
    const [, named] = SOURCES[1]
    const { stdout } = await atomfsFuse(['ls', '-R', named])
    for (const other of [`docker-archive:${docker}:@0`, `docker-archive:${docker}`, `oci-archive:${oci}`]) {
      expect((await atomfsFuse(['ls', '-R', other])).stdout).toBe(stdout)
    }
  })

  test('is damaged where a byte of the archive changed, and verify finds it', async () => {
    const changed = join(temp, 'changed.tar')
    const bytes = readFileSync(docker)
    const image = `docker-archive:${changed}`
    writeFileSync(changed, bytes)
    await atomfsFuse(['ls', image])
    // In the content of a large file of the lowest layer, which lies there without compression.
    const at = bytes.length >> 1
    bytes[at]! ^= 4
    writeFileSync(changed, bytes)
    const { status, stdout } = await atomfsFuse(['verify', image], { allowFailure: true })
    expect({ status, isFound: /CORRUPTION FOUND/.test(stdout) }).toEqual({ status: 1, isFound: true })
    expect(await refused(['mount', '--verify=eager', image, temp])).toMatch(/layer sha256:\w+: blob/)
  })

  test('is refused in one line where it cannot be read in place', async () => {
    const compressed = join(temp, 'docker.tar.gz')
    writeFileSync(compressed, gzipSync(readFileSync(docker)))
    expect(await refused(['mount', `docker-archive:${compressed}`, temp])).toMatch(
      /gzip.*atomfs-fuse convert/,
    )
    expect(await refused(['ls', `docker-archive:${docker}:other`])).toMatch(
      /no image "other".*example\/image:v1/,
    )
    expect(await refused(['ls', `docker-archive:${oci}`])).toMatch(/no file manifest.json/)
    expect(await refused(['ls', `oci-archive:${oci}:none`])).toMatch(/no tag "none"; tags in it: "v1"/)
    expect(await refused(['ls', `oci-archive:${join(temp, 'nothing')}`])).toMatch(/no such file/)
    writeFileSync(join(temp, 'cut.tar'), readFileSync(docker).subarray(0, -200_000))
    expect(await refused(['ls', `docker-archive:${join(temp, 'cut.tar')}`])).toMatch(/cut.tar.*archive/)
  })
})
