import { mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  addBusybox,
  appendVerity,
  type LayerFile,
  makeTempDir,
  mksquashfs,
  needs,
  type RunResult,
  removeTempDir,
  run,
  titled,
  withTempDir,
  writeOciLayout,
} from '../library/index.ts'
import { ID_RANGE, inNamespace } from '../library/scenes/namespaces.ts'

/**
 * What the template lxc-oci of LXC does, call by call: it fills in two files of a new container, and writes a hook into its
 * configuration that lxc-start runs before it makes the mount the root directory of the container.
 */

const NEEDS = ['root', 'fuse', 'mksquashfs', 'veritysetup', 'unshare', 'busybox'] as const
const need = needs(...NEEDS)
const needNamespace = needs(...NEEDS, 'userns', 'nsenter')

let folder = ''
/** Bottom first. */
let layers: readonly LayerFile[] = []

beforeAll(async () => {
  folder = makeTempDir()
  const [lower, second] = [join(folder, 'lower'), join(folder, 'second')]
  for (const path of ['etc', 'mnt', 'deep/er']) mkdirSync(join(lower, path), { recursive: true })
  addBusybox(lower, 'cat', 'ls', 'mv', 'rm', 'umount')
  writeFileSync(join(lower, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n')
  writeFileSync(join(lower, 'deep/er/file'), 'deep\n')
  mkdirSync(join(second, 'etc'), { recursive: true })
  writeFileSync(join(second, 'etc/motd'), 'hello\n')
  const pack = async (tree: string): Promise<LayerFile> => {
    const file = await mksquashfs(tree, `${tree}.sqfs`)
    return { file, rootHash: (await appendVerity(file)).rootHash }
  }
  layers = [await pack(lower), await pack(second)]
})

afterAll(() => removeTempDir(folder))

/** $1 is the container's folder. In the end nothing of the image may be left in the place of the mount. */
const TEMPLATE = `
PATH=\${0%/*}:$PATH
atomfs mount --persist "$1/upper" "$1/oci:c1" "$1/rootfs"
echo c1 > "$1/rootfs/etc/hostname"
printf '127.0.0.1   localhost\\n127.0.1.1   c1\\n' > "$1/rootfs/etc/hosts"
grep -c '^root:' "$1/rootfs/etc/passwd"
atomfs umount "$1/rootfs"
ls -A "$1/rootfs"`

/**
 * $1 is the container's folder, $2 what runs in it. The hook is a line of the configuration: LXC lets a shell expand it. Then
 * LXC binds the mount to a place of its own, and that becomes the root directory.
 */
const START = `
PATH=\${0%/*}:$PATH
export LXC_ROOTFS_PATH="$1/rootfs" LXC_NAME=c1
unshare -m --propagation private --fork --pid --kill-child sh -ec '
  atomfs mount --persist "$1/upper" \${LXC_ROOTFS_PATH}/../oci:\${LXC_NAME} \${LXC_ROOTFS_PATH}
  mount --rbind "$LXC_ROOTFS_PATH" "$1/staging"
  cd "$1/staging"
  pivot_root . mnt
  umount -l /mnt
  exec /bin/sh -ec "$2"' sh "$1" "$2"`

const FIRST =
  'cat /etc/hostname /etc/motd; echo more >>/etc/motd; mv /deep /moved; rm /moved/er/file; echo x >/new'
const SECOND = 'cat /etc/motd /new; ls / /moved/er; rm /new; rm -r /moved'
const THIRD = 'ls /; ls /etc'

/** The folder as skopeo leaves it: the blobs lie in a cache that containers share. */
async function makeContainer(place: string): Promise<void> {
  await writeOciLayout(join(place, 'oci'), [{ tag: 'c1', layers }])
  mkdirSync(join(place, 'cache'))
  renameSync(join(place, 'oci/blobs/sha256'), join(place, 'cache/sha256'))
  symlinkSync(join(place, 'cache/sha256'), join(place, 'oci/blobs/sha256'))
  for (const path of ['rootfs', 'staging']) mkdirSync(join(place, path))
}

/** @param inside runs a script with the launcher as $0 and these arguments */
async function live(
  place: string,
  inside: (script: string, ...args: readonly string[]) => Promise<RunResult>,
): Promise<void> {
  expect(await inside(TEMPLATE, place)).toMatchObject({ stdout: '1\n', stderr: '' })
  expect(readdirSync(join(place, 'upper/persist/etc')).sort()).toEqual(['hostname', 'hosts'])
  const starts = [
    [FIRST, 'c1\nhello\n'],
    [SECOND, 'hello\nmore\nx\n/:\nbin\netc\nmnt\nmoved\nnew\n\n/moved/er:\n'],
    [THIRD, 'bin\netc\nmnt\nhostname\nhosts\nmotd\npasswd\n'],
  ] as const
  for (const [work, output] of starts) {
    expect(await inside(START, place, work)).toMatchObject({ stdout: output, stderr: '' })
  }
}

describe('the calls of the template lxc-oci and of lxc-start', () => {
  test.skipIf(!need.ok)(
    titled('a container of root is made, and started three times with its changes', need),
    async () => {
      await withTempDir(async (temp) => {
        await makeContainer(temp)
        const env = { ATOMFS_TEST_RUN_DIR: join(temp, 'run') }
        const flags = ['-m', '--propagation', 'private', 'sh', '-ec']
        await live(temp, (script, ...args) =>
          run('unshare', [...flags, script, ATOMFS_FUSE, ...args], { env }),
        )
      })
    },
  )

  test.skipIf(!needNamespace.ok)(
    titled(
      'a container of a user namespace is made, and started three times with its changes',
      needNamespace,
    ),
    async () => {
      await inNamespace(ID_RANGE, async ({ folder: place, inside }) => {
        await makeContainer(place)
        await run('chown', ['-R', `${ID_RANGE.first}:${ID_RANGE.first}`, place])
        await live(place, inside)
      })
    },
  )
})
