import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AS_SOURCE,
  ATOMFS_FUSE,
  archiveLayer,
  atomfsFuse,
  buildLayers,
  buildSourceTree,
  CONFIG_MEDIA_TYPE,
  compareTrees,
  createLayout,
  type Descriptor,
  INDEX_MEDIA_TYPE,
  MANIFEST_MEDIA_TYPE,
  makeTempDir,
  needs,
  putDocument,
  Random,
  removeTempDir,
  run,
  type TreeEntry,
  tarEnd,
  tarEntry,
  titled,
  walkTree,
  withAtomfs,
  writeIndex,
  writeTarImage,
} from '../library/index.ts'

const need = needs('root', 'fuse', 'tar', 'umoci', 'skopeo', 'setpriv')
const temp = makeTempDir()
const image = join(temp, 'image')
/** A layout with an image `before`. */
const keep = join(temp, 'keep')
let unpacked: TreeEntry[] = []
let count = 0

/** What umoci, as root, makes of an image. */
async function unpackedBy(ociDir: string, tag: string): Promise<TreeEntry[]> {
  const bundle = join(temp, `bundle-${count++}`)
  await run('umoci', ['unpack', '--image', `${ociDir}:${tag}`, bundle])
  return walkTree(join(bundle, 'rootfs'))
}

/** What a verified mount of a converted image shows. */
async function shownBy(source: string): Promise<TreeEntry[]> {
  return await withAtomfs(temp, source, ({ target }) => walkTree(target))
}

interface Report {
  readonly manifestDigest: string
  readonly layers: readonly { readonly digest: string; readonly how: string; readonly source?: string }[]
}

/** `ATOMFS_SEEDS` is a number of seeds. */
const SEEDS = Array.from({ length: Number(process.env['ATOMFS_SEEDS'] ?? 2) }, (_, i) => i + 1)

/** Milliseconds after the start; `ATOMFS_STRESS=1`: 50 in all, chosen by chance. */
const MOMENTS =
  process.env['ATOMFS_STRESS'] === '1'
    ? Array.from({ length: 25 }, (_, i) => i * 100 + new Random(i).int(0, 99))
    : [200, 400, 600, 800, 1000]

const FAST = ['--compression', 'gzip:1']

async function converted(source: string, target: string, args: readonly string[] = []): Promise<Report> {
  const { stdout, stderr } = await atomfsFuse(['convert', source, target, '--json', ...FAST, ...args])
  expect(stderr).toBe('')
  return JSON.parse(stdout)
}

/** Names that a layer above has deleted still count as links of a file, as in overlayfs. */
const AS_UNPACKED = { ...AS_SOURCE, ignore: ['blocks', 'nlink'] } as const

/** umoci loses attributes whose value is empty: to its reader of archives such a record takes one back. */
function compareWithUmoci(shown: readonly TreeEntry[], expected: readonly TreeEntry[]): string[] {
  const kept = shown.map(({ xattrs, ...entry }): TreeEntry => {
    const full = Object.entries(xattrs ?? {}).filter(([, value]) => value !== '')
    return full.length === 0 ? entry : { ...entry, xattrs: Object.fromEntries(full) }
  })
  return compareTrees(kept, expected, AS_UNPACKED)
}

/** One line of an error. */
async function refused(source: string, target: string, args: readonly string[] = []): Promise<string> {
  const { status, stdout, stderr } = await atomfsFuse(['convert', source, target, ...FAST, ...args], {
    allowFailure: true,
  })
  expect({ status, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({
    status: 1,
    stdout: '',
    lines: 1,
  })
  return stderr
}

const FILE = { type: 'file', mode: 0o644, uid: 0, mtime: 1_000_000_000 } as const
const DIRECTORY = { ...FILE, type: 'directory', mode: 0o700 } as const
const archiveOf = (...members: readonly Parameters<typeof tarEntry>[0][]): Buffer =>
  Buffer.concat([...members.map(tarEntry), tarEnd()])

interface Documents {
  readonly manifest: { config: Descriptor; layers: { mediaType: string; digest: string }[] }
  readonly config: { rootfs: { diff_ids: string[] } }
}

const listed = (folder: string): string[] => readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()
const readBlob = (source: string, digest: string): Buffer =>
  readFileSync(join(source, 'blobs/sha256', digest.slice(7)))

/** Changes the documents of the image in a layout, with digests that fit. */
function changeDocuments(source: string, change: (documents: Documents) => void): void {
  const index = JSON.parse(readFileSync(join(source, 'index.json'), 'utf8'))
  const manifest = JSON.parse(readBlob(source, index.manifests[0].digest).toString())
  const config = JSON.parse(readBlob(source, manifest.config.digest).toString())
  change({ manifest, config })
  manifest.config = putDocument(source, CONFIG_MEDIA_TYPE, config)
  const { annotations } = index.manifests[0]
  writeIndex(source, [{ ...putDocument(source, MANIFEST_MEDIA_TYPE, manifest), annotations }])
}

function setMediaType(source: string, mediaType: string): void {
  changeDocuments(source, ({ manifest }) => {
    manifest.layers[1]!.mediaType = mediaType
  })
}

/** The second layer. */
function layerFile(source: string): string {
  let digest = ''
  changeDocuments(source, ({ manifest }) => {
    digest = manifest.layers[1]!.digest
  })
  return join(source, 'blobs/sha256', digest.slice(7))
}

function changeLayer(source: string, change: (bytes: Buffer) => Buffer): void {
  const file = layerFile(source)
  writeFileSync(file, change(readFileSync(file)))
}

beforeAll(async () => {
  if (!need.ok) return
  const folder = join(temp, 'layers')
  mkdirSync(join(folder, 'layer0'), { recursive: true })
  buildSourceTree(join(folder, 'layer0'), { size: 'small' })
  const above = join(folder, 'above')
  mkdirSync(above)
  const others = buildLayers(above, { seed: 4, form: 'user', count: 2 })
  const layers = await Promise.all([join(folder, 'layer0'), ...others].map(archiveLayer))
  writeTarImage(image, { tag: 'tar', layers })
  unpacked = await unpackedBy(image, 'tar')
  mkdirSync(join(temp, 'tiny'))
  await converted(join(temp, 'tiny'), `${keep}:before`)
})
afterAll(() => removeTempDir(temp))

describe.skipIf(!need.ok)(titled('convert', need), () => {
  test('makes an image of tar layers that a verified mount shows as umoci unpacks it, and that others take', async () => {
    const out = join(temp, 'out')
    const { layers } = await converted(`${image}:tar`, `${out}:squashfs`)
    expect(layers.map(({ how }) => how)).toEqual(['converted', 'converted', 'converted'])
    expect(compareWithUmoci(await shownBy(`${out}:squashfs`), unpacked)).toEqual([])
    expect((await run('umoci', ['ls', '--layout', out])).stdout).toBe('squashfs\n')
    const copy = join(temp, 'copy')
    await run('skopeo', ['copy', `oci:${out}:squashfs`, `oci:${copy}:copy`])
    expect(compareWithUmoci(await shownBy(`${copy}:copy`), unpacked)).toEqual([])
  })

  test('reads the same image out of archives, compressed ones too', async () => {
    const out = join(temp, 'from-archives')
    const { layers } = await converted(`${image}:tar`, `${out}:layout`)
    const digests = layers.map(({ digest }) => digest)
    const docker = join(temp, 'docker:archive.tar')
    const oci = join(temp, 'oci.tar')
    await run('skopeo', [
      'copy',
      `oci:${image}:tar`,
      `docker-archive:${join(temp, 'docker.tar')}:some/name:1.0`,
    ])
    renameSync(join(temp, 'docker.tar'), docker)
    await run('skopeo', ['copy', `oci:${image}:tar`, `oci-archive:${oci}:tar`])
    await run('gzip', ['-1', '-k', docker, oci])
    for (const source of [
      `docker-archive:${docker}`,
      `docker-archive:${docker}.gz:some/name:1.0`,
      `oci-archive:${oci}:tar`,
      `oci-archive:${oci}.gz`,
    ]) {
      const own = join(temp, `archive-${count++}`)
      const made = await converted(source, `${own}:x`)
      expect(made.layers.map(({ digest }) => digest)).toEqual(digests)
    }
    expect(await refused(`docker-archive:${docker}:other`, `${out}:y`)).toMatch(
      /no image "other".*some\/name:1.0/,
    )
  })

  test('reads no layer again that the layout has from before, and copies squashfs layers', async () => {
    const source = join(temp, 'source')
    cpSync(image, source, { recursive: true })
    const out = join(temp, 'reused')
    const first = await converted(`${source}:tar`, `${out}:a`)
    for (const { source: digest = '' } of first.layers) rmSync(join(source, 'blobs/sha256', digest.slice(7)))
    const again = await converted(`${source}:tar`, `${out}:b`)
    expect(again.layers.map(({ how }) => how)).toEqual(['reused', 'reused', 'reused'])
    expect(again.manifestDigest).toBe(first.manifestDigest)
    expect(await refused(`${source}:tar`, `${out}:c`, ['--block-size', '64K'])).toMatch(/no such file/)
    const copy = await converted(`${out}:a`, `${join(temp, 'copied')}:x`)
    expect(copy.layers.map(({ how, digest }) => [how, digest])).toEqual(
      first.layers.map(({ digest }) => ['copied', digest]),
    )
  })

  test('makes one layer of all with --squash, and squashfs layers anew with --recompress', async () => {
    const out = join(temp, 'squashed')
    const { layers } = await converted(`${image}:tar`, `${out}:one`, ['--squash'])
    expect(layers).toHaveLength(1)
    // No name that a layer has deleted counts as a link.
    const squashed = await shownBy(`${out}:one`)
    const nlink = (entry: TreeEntry): number | undefined =>
      entry.type === 'directory' ? undefined : entry.nlink
    expect(compareWithUmoci(squashed, unpacked)).toEqual([])
    expect(squashed.map(nlink)).toEqual(unpacked.map(nlink))
    const blobs = readdirSync(join(out, 'blobs/sha256'))
    expect(blobs).toHaveLength(3)
    const first = await converted(`${image}:tar`, `${out}:layers`)
    const anew = await converted(`${out}:layers`, `${out}:anew`, ['--recompress', '--block-size', '64K'])
    expect(anew.layers.map(({ how, source }) => [how, source])).toEqual(
      first.layers.map(({ digest }) => ['converted', digest]),
    )
    expect(compareWithUmoci(await shownBy(`${out}:anew`), unpacked)).toEqual([])
  })

  test('completes a layer with what the layers below have', async () => {
    const source = join(temp, 'incomplete')
    const layers = [
      archiveOf(
        { ...DIRECTORY, path: '.', mode: 0o711, uid: 3 },
        { ...DIRECTORY, path: 'a', uid: 7 },
        { ...DIRECTORY, path: 'a/b', uid: 8 },
        { ...FILE, path: 'a/b/f', content: 'below' },
        { ...DIRECTORY, path: 'o', uid: 9 },
        { ...FILE, path: 'o/hidden' },
      ),
      // No entries for directories, and a hard link to a file of the layer below.
      archiveOf(
        { ...FILE, path: 'a/b/g', content: 'above' },
        { ...FILE, path: 'o/.wh..wh..opq' },
        { ...FILE, path: 'o/seen' },
        { ...FILE, path: 'link', type: 'link', target: 'a/b/f' },
      ),
    ]
    writeTarImage(source, { tag: 't', layers })
    const out = join(temp, 'completed')
    await converted(`${source}:t`, `${out}:t`)
    const shown = await shownBy(`${out}:t`)
    const linked = (entry: TreeEntry): TreeEntry => {
      const { linkGroup: _, ...others } = entry
      return entry.path === 'link' || entry.path === 'a/b/f' ? others : entry
    }
    expect(compareWithUmoci(shown.map(linked), (await unpackedBy(source, 't')).map(linked))).toEqual([])
    // The second layer over other ones is another layer.
    writeTarImage(source, {
      tag: 't',
      layers: [
        archiveOf({ ...DIRECTORY, path: 'a', uid: 70 }, { ...FILE, path: 'a/b/f', content: 'other' }),
        layers[1]!,
      ],
    })
    expect((await converted(`${source}:t`, `${out}:u`)).layers.map(({ how }) => how)).toEqual([
      'converted',
      'converted',
    ])
    expect((await shownBy(`${out}:u`)).find(({ path }) => path === 'a')?.uid).toBe(70)
  })

  test('of a plain user keeps owners and devices', async () => {
    const place = join(temp, 'plain')
    mkdirSync(place)
    chmodSync(temp, 0o755)
    chmodSync(place, 0o777)
    await run('setpriv', [
      '--reuid=4711',
      '--regid=4711',
      '--clear-groups',
      ATOMFS_FUSE,
      'convert',
      `${image}:tar`,
      `${place}/out:x`,
      ...FAST,
    ])
    expect(compareWithUmoci(await shownBy(`${place}/out:x`), unpacked)).toEqual([])
  })

  test('takes a directory, an archive on standard input, and a squashfs file', async () => {
    const out = join(temp, 'trees')
    const tree = join(temp, 'tree')
    mkdirSync(tree)
    buildSourceTree(tree, { size: 'small' })
    const source = walkTree(tree)
    await converted(tree, `${out}:directory`)
    expect(compareTrees(await shownBy(`${out}:directory`), source, AS_SOURCE)).toEqual([])
    const file = join(temp, 'tree.squashfs')
    const { stdout } = await atomfsFuse(['pack', tree, file, '--json', ...FAST])
    const { layers } = await converted(file, `${out}:file`)
    expect(layers).toMatchObject([{ how: 'copied', rootHash: JSON.parse(stdout).rootHash }])
    await atomfsFuse(['pack', tree, `${file}.plain`, '--no-verity', ...FAST])
    await converted(`${file}.plain`, `${out}:verified`)
    expect(compareTrees(await shownBy(`${out}:verified`), source, AS_SOURCE)).toEqual([])
    const input = archiveOf({ ...FILE, path: 'f', content: 'x' }, { ...FILE, path: '.wh.gone' })
    await atomfsFuse(['convert', '-', `${out}:stdin`, ...FAST], { input: gzipSync(input) })
    expect((await shownBy(`${out}:stdin`)).map(({ path }) => path)).toEqual(['.', 'f'])
    expect((await run('umoci', ['ls', '--layout', out])).stdout.split('\n').sort()).toEqual([
      '',
      'directory',
      'file',
      'stdin',
      'verified',
    ])
    await run('umoci', ['stat', '--image', `${out}:directory`])
  })

  test('keeps configuration and history, with the diff_ids of the new layers', async () => {
    const source = join(temp, 'with-history')
    const history = [{ created_by: 'a' }, { created_by: 'b', empty_layer: true }]
    const config = {
      created: '2020-01-02T03:04:05Z',
      config: { Env: ['A=b'], Cmd: ['sh'] },
      history,
      'x-own': 1,
    }
    writeTarImage(source, { tag: 't', layers: [archiveOf({ ...FILE, path: 'f' })], config })
    const { layers } = await converted(`oci:${source}:t`, `oci:${join(temp, 'history')}:t`)
    const { stdout } = await run('skopeo', ['inspect', '--config', '--raw', `oci:${join(temp, 'history')}:t`])
    expect(JSON.parse(stdout)).toEqual({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
      ...config,
    })
  })

  test('chooses from an image for several platforms', async () => {
    const source = join(temp, 'platforms')
    createLayout(source)
    const manifests = ['amd64', 'arm64'].map((architecture) => {
      const one = join(temp, `only-${architecture}`)
      writeTarImage(one, {
        tag: 't',
        layers: [archiveOf({ ...FILE, path: architecture })],
        config: { architecture },
      })
      cpSync(join(one, 'blobs'), join(source, 'blobs'), { recursive: true })
      const [{ annotations: _, ...descriptor }] = JSON.parse(
        readFileSync(join(one, 'index.json'), 'utf8'),
      ).manifests
      return { ...descriptor, platform: { os: 'linux', architecture } }
    })
    const index = putDocument(source, INDEX_MEDIA_TYPE, { schemaVersion: 2, manifests })
    writeIndex(source, [{ ...index, annotations: { 'org.opencontainers.image.ref.name': 't' } }])
    const out = join(temp, 'one-platform')
    await converted(`${source}:t`, `${out}:arm`, ['--platform', 'linux/arm64'])
    expect((await shownBy(`${out}:arm`)).map(({ path }) => path)).toEqual(['.', 'arm64'])
    expect(await refused(`${source}:t`, `${out}:s390x`, ['--platform', 'linux/s390x'])).toMatch(
      /linux\/arm64/,
    )
  })

  test.each<[what: string, spoil: (source: string) => void, message: RegExp]>([
    [
      'a flipped byte',
      (source) =>
        changeLayer(source, (bytes) => {
          const half = bytes.length >> 1
          return Buffer.concat([
            bytes.subarray(0, half),
            Buffer.of(bytes[half]! ^ 1),
            bytes.subarray(half + 1),
          ])
        }),
      /layer 2 of 3.*the blob has digest/,
    ],
    [
      'a layer cut short',
      (source) => changeLayer(source, (bytes) => bytes.subarray(0, 100)),
      /layer 2 of 3.*must have \d+ bytes, and has 100/,
    ],
    [
      'a layer with more behind it',
      (source) => changeLayer(source, (bytes) => Buffer.concat([bytes, bytes])),
      /layer 2 of 3.*must have \d+ bytes, and has more/,
    ],
    [
      'another diff_id',
      (source) =>
        changeDocuments(source, ({ config }) => {
          config.rootfs.diff_ids[1] = config.rootfs.diff_ids[0]!
        }),
      /layer 2 of 3.*the archive in it has digest/,
    ],
    [
      'another number of diff_ids',
      (source) => changeDocuments(source, ({ config }) => config.rootfs.diff_ids.pop()),
      /2 diff_ids, and the manifest has 3 layers/,
    ],
    [
      'an encrypted layer',
      (source) => setMediaType(source, 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted'),
      /layer 2 of 3.*is encrypted/,
    ],
    [
      'an unknown layer',
      (source) => setMediaType(source, 'application/x-own'),
      /layer 2 of 3: media type "application\/x-own" is not known/,
    ],
    [
      'a foreign layer that is elsewhere',
      (source) => {
        rmSync(layerFile(source))
        setMediaType(source, 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip')
      },
      /layer 2 of 3.*a foreign layer/,
    ],
  ])('of %s says so in one line, and leaves nothing', async (_, spoil, message) => {
    const source = join(temp, `spoilt-${count++}`)
    cpSync(image, source, { recursive: true })
    spoil(source)
    const out = join(temp, `none-${count}`)
    expect(await refused(`${source}:tar`, `${out}:x`)).toMatch(message)
    expect(existsSync(out)).toBe(false)
    cpSync(keep, out, { recursive: true })
    await refused(`${source}:tar`, `${out}:x`)
    expect(listed(out)).toEqual(listed(keep))
  })

  test.each(['SIGKILL', 'SIGTERM'] as const)(
    'leaves a whole layout after %s',
    async (signal) => {
      const out = join(temp, `killed-${signal}`)
      cpSync(keep, out, { recursive: true })
      for (const wait of MOMENTS) {
        const child = spawn(ATOMFS_FUSE, ['convert', `${image}:tar`, `${out}:x`, '--compression', 'xz'], {
          stdio: 'ignore',
        })
        setTimeout(() => child.kill(signal), wait)
        await once(child, 'exit')
        const tags = (await run('umoci', ['ls', '--layout', out])).stdout.trim().split('\n').sort()
        expect(['before', 'before,x']).toContain(tags.join())
        expect(readdirSync(out).sort()).toEqual(['blobs', 'index.json', 'oci-layout'])
      }
      await run('skopeo', ['copy', `oci:${out}:before`, `dir:${join(temp, `dir-${signal}`)}`])
    },
    200_000,
  )

  test('says in one line that the disk is full, and leaves the layout as it was', async () => {
    const place = join(temp, 'small')
    mkdirSync(place)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=700k', 'none', place])
    try {
      cpSync(keep, join(place, 'out'), { recursive: true })
      const before = listed(place)
      expect(await refused(`${image}:tar`, `${place}/out:x`)).toMatch(/^Error: layer 1 of 3.*ENOSPC/)
      expect(listed(place)).toEqual(before)
    } finally {
      await run('umount', [place])
    }
  })

  test('refuses targets that are none', async () => {
    const other = join(temp, 'other')
    mkdirSync(other)
    writeFileSync(join(other, 'file'), '')
    expect(await refused(`${image}:tar`, `${other}:x`)).toMatch(/no OCI image layout, and not empty/)
    expect(await refused(`${image}:tar`, other)).toMatch(/OCIDIR:TAG is needed/)
    expect(await refused(`${image}:tar`, `${join(temp, 'new')}:-x`)).toMatch(/is no tag/)
    expect(readdirSync(other)).toEqual(['file'])
  })

  test.each(SEEDS)('of random layers equals what umoci unpacks (seed %s)', async (seed) => {
    const folder = join(temp, `random-${seed}`)
    mkdirSync(folder)
    const layers = await Promise.all(buildLayers(folder, { seed, form: 'user' }).map(archiveLayer))
    const source = join(folder, 'image')
    writeTarImage(source, { tag: 't', layers })
    await converted(`${source}:t`, `${folder}/out:t`)
    expect(compareWithUmoci(await shownBy(`${folder}/out:t`), await unpackedBy(source, 't'))).toEqual([])
  })
})
