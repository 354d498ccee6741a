import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pythonLayers } from '../library/images/python-tar.ts'
import {
  AS_SOURCE,
  ATOMFS_FUSE,
  buildSourceTree,
  bundleProgram,
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
import { asCaller } from '../library/scenes/containers.ts'
import { ID_RANGE, inNamespace } from '../library/scenes/namespaces.ts'

const need = needs('root', 'fuse', 'umoci', 'skopeo', 'python3', 'setpriv', 'unshare', 'fusermount3')
const temp = makeTempDir()
const store = join(temp, 'store')

/** Names that a layer above has deleted still count as links of a file, as in overlayfs. */
const AS_UNPACKED = { ...AS_SOURCE, ignore: ['blocks', 'nlink'] } as const
/** Nobody but root of the machine sees the first kind, and a namespace has its own form of the second. */
const HIDDEN = (name: string): boolean => name.startsWith('trusted.') || name === 'security.capability'

/** umoci gives the root the time of its own work. */
function withoutRootTime(entries: readonly TreeEntry[]): TreeEntry[] {
  return withoutEmpty(entries).map((entry) => (entry.path === '.' ? { ...entry, mtime: 0 } : entry))
}

async function unpacked(source: string, name: string): Promise<TreeEntry[]> {
  const bundle = join(temp, name)
  await run('umoci', ['unpack', '--image', source, bundle])
  try {
    return withoutRootTime(walkTree(join(bundle, 'rootfs')))
  } finally {
    rmSync(bundle, { recursive: true })
  }
}

/** umoci loses attributes whose value is empty: to its reader of archives such a record takes one back. */
function withoutEmpty(entries: readonly TreeEntry[]): TreeEntry[] {
  return entries.map(({ xattrs, ...entry }): TreeEntry => {
    const full = Object.entries(xattrs ?? {}).filter(([, value]) => value !== '')
    return full.length === 0 ? entry : { ...entry, xattrs: Object.fromEntries(full) }
  })
}

const shown = (source: string): Promise<TreeEntry[]> =>
  withAtomfs(temp, source, ({ target }) => withoutRootTime(walkTree(target)))

const python = join(temp, 'python')
let expected: TreeEntry[]
beforeAll(async () => {
  process.env['ATOMFS_STORE'] = store
  chmodSync(temp, 0o755)
  if (!need.ok) return
  const folder = join(temp, 'archives')
  mkdirSync(folder)
  writeTarImage(python, { tag: 't', layers: await pythonLayers(folder) })
  expected = await unpacked(`${python}:t`, 'bundle')
})
afterAll(() => removeTempDir(temp))

describe.skipIf(!need.ok)(titled('an image of tar layers is shown as umoci unpacks it', need), () => {
  test('of tarfile of Python, by root', async () => {
    expect(expected.length).toBe(45)
    expect(compareTrees(await shown(`${python}:t`), expected, AS_UNPACKED)).toEqual([])
  })

  test('of tarfile of Python, by root of a user namespace', () =>
    inNamespace(ID_RANGE, async ({ folder, target, inside }) => {
      const walk = await bundleProgram(join(import.meta.dirname, '../library/trees/walk-main.ts'))
      const script = '"$0" mount --store "$1/store" "$2" "$3"; "$4" "$5" "$3"; "$0" umount "$3"'
      const { stdout } = await inside(script, folder, `${python}:t`, target, process.execPath, walk)
      const found = withoutRootTime(JSON.parse(stdout) as TreeEntry[])
      expect(compareTrees(found, expected, { ...AS_UNPACKED, ignoreXattr: HIDDEN })).toEqual([])
    }))

  test('of tarfile of Python, by a plain user without subordinate ids', async () => {
    const walk = await bundleProgram(join(import.meta.dirname, '../library/trees/walk-main.ts'))
    const script = 'set -e; mkdir -p m; "$0" mount "$1" m; "$2" "$3" m; "$0" umount m'
    const words = ['sh', '-c', script, ATOMFS_FUSE, `${python}:t`, process.execPath, walk]
    const place = join(temp, 'user')
    mkdirSync(place)
    const env = { ATOMFS_STORE: '' }
    const { stdout } = await asCaller({ folder: place, source: '' }, 'user-one', words, { env })
    const found = withoutRootTime(JSON.parse(stdout) as TreeEntry[])
    expect(compareTrees(found, expected, { ...AS_UNPACKED, ignoreXattr: HIDDEN })).toEqual([])
  })

  test.each(['docker-archive', 'oci-archive'])('of skopeo, in an archive: %s', async (form) => {
    const file = join(temp, `${form}.tar`)
    const words = ['copy', '--quiet', '--insecure-policy', `oci:${python}:t`, `${form}:${file}:image:t`]
    await run('skopeo', words)
    expect(compareTrees(await shown(`${form}:${file}`), expected, AS_UNPACKED)).toEqual([])
  })

  test('of umoci, with layers of changes', async () => {
    const layout = join(temp, 'umoci')
    const [image, bundle] = [`${layout}:t`, join(temp, 'work')]
    await run('umoci', ['init', '--layout', layout])
    await run('umoci', ['new', '--image', image])
    const change = async (work: (rootfs: string) => void): Promise<void> => {
      await run('umoci', ['unpack', '--image', image, bundle])
      work(join(bundle, 'rootfs'))
      await run('umoci', ['repack', '--image', image, bundle])
      rmSync(bundle, { recursive: true })
    }
    await change((rootfs) =>
      buildSourceTree(rootfs, { size: 'small', noSockets: true, noSpecialLinks: true }),
    )
    await change((rootfs) => {
      rmSync(join(rootfs, 'many/d1'), { recursive: true })
      rmSync(join(rootfs, 'types/file'))
      rmSync(join(rootfs, 'wide/entry-a'))
      mkdirSync(join(rootfs, 'wide/entry-a'))
      writeFileSync(join(rootfs, 'wide/entry-a/new'), 'new')
      rmSync(join(rootfs, 'deep'), { recursive: true })
      symlinkSync('types', join(rootfs, 'deep'))
      chmodSync(join(rootfs, 'sizes'), 0o700)
    })
    expect(compareTrees(await shown(image), await unpacked(image, 'again'), AS_UNPACKED)).toEqual([])
  })
})
