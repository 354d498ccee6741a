import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
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
  withTempDir,
  writeOciLayout,
} from '../library/index.ts'

const need = needs(
  'root',
  'fuse',
  'mksquashfs',
  'tar',
  'kernel-overlayfs',
  'fuse-overlayfs',
  'unshare',
  'setpriv',
)
const TAR = 'application/vnd.oci.image.layer.v1.tar+gzip'

/** What each layer of the image has. The second one deletes, covers and links. */
async function makeImage(folder: string): Promise<string> {
  const [one, two, three] = ['one', 'two', 'three'].map((name) => join(folder, name))
  for (const path of ['gone', 'covered/sub', 'kept', 'twice'])
    mkdirSync(join(one!, path), { recursive: true })
  for (const path of ['gone/a', 'covered/old', 'covered/sub/old', 'kept/file', 'twice/x', 'file']) {
    writeFileSync(join(one!, path), `one ${path}\n`)
  }
  chownSync(join(one!, 'kept'), 12, 34)
  chmodSync(join(one!, 'kept'), 0o2750)
  symlinkSync('/etc', join(one!, 'link'))
  for (const path of ['covered', 'kept', 'new']) mkdirSync(join(two!, path), { recursive: true })
  for (const path of [
    'covered/.wh..wh..opq',
    '.wh.gone',
    'kept/.wh.file',
    '.wh.twice',
    'kept/other',
    'covered/new',
    'new/suid',
  ]) {
    writeFileSync(join(two!, path), path.includes('.wh.') ? '' : `two ${path}\n`)
  }
  chmodSync(join(two!, 'new/suid'), 0o4755)
  chownSync(join(two!, 'kept/other'), 1000, 1000)
  mkdirSync(join(three!, 'twice'), { recursive: true })
  writeFileSync(join(three!, 'twice/y'), 'three\n')
  const pack = (name: string, ...names: string[]): string => {
    const file = join(folder, `${name}.tar.gz`)
    execFileSync('tar', ['-C', join(folder, name), '-czf', file, ...names])
    return file
  }
  const layers = [
    { file: await mksquashfs(one!, join(folder, 'one.squashfs')) },
    // `kept` has no entry of its own.
    {
      file: pack('two', './covered', './.wh.gone', './kept/.wh.file', './kept/other', './.wh.twice', './new'),
      mediaType: TAR,
    },
    { file: pack('three', './twice'), mediaType: TAR },
  ]
  const config = { os: 'linux', architecture: 'amd64' }
  const layout = join(folder, 'layout')
  await writeOciLayout(layout, [{ tag: 'box', layers, config }])
  return `${layout}:box`
}

const LIST =
  'cd "$0" && find . -mindepth 1 -printf "%p %y %m %U:%G %l\\n" | sort && cat twice/y covered/new kept/other'
const EXPECTED = [
  './covered d 755 0:0 ',
  './covered/new f 644 0:0 ',
  './file f 644 0:0 ',
  './kept d 2750 12:34 ',
  './kept/other f 644 1000:1000 ',
  './link l 777 0:0 /etc',
  './new d 755 0:0 ',
  './new/suid f 4755 0:0 ',
  './twice d 755 0:0 ',
  './twice/y f 644 0:0 ',
  'three',
  'two covered/new',
  'two kept/other',
  '',
].join('\n')

describe.skipIf(!need.ok)(titled('unpack', need), () => {
  test('writes a directory a layer, which overlays of the kernel and fuse-overlayfs merge', () =>
    withTempDir(async (folder) => {
      const source = await makeImage(folder)
      const out = join(folder, 'out')
      const { stdout, stderr } = await atomfsFuse(['unpack', source, out])
      expect(stderr).toBe('')
      expect(stdout).toMatch(/^lowerdir=.*\/3:.*\/2:.*\/1\n$/)
      expect(readdirSync(out)).toEqual(['1', '2', '3'])
      expect(statSync(join(out, '2', 'gone')).isCharacterDevice()).toBe(true)
      const word = stdout.trim()
      const mounts = [
        `mount -t overlay -o "$1" none "$0"`,
        `mount -t overlay -o "$1,userxattr" none "$0"`,
        `fuse-overlayfs -o "$1" "$0"`,
      ]
      mkdirSync(join(folder, 'm'))
      for (const mount of mounts) {
        const script = `set -e; ${mount}; ${LIST}; cd /; umount "$0"`
        const shown = await run('unshare', ['-m', 'sh', '-c', script, join(folder, 'm'), word], { cwd: '/' })
        expect(shown.stdout, mount).toBe(EXPECTED)
      }
    }))

  test('as a plain user writes owners down, and fuse-overlayfs shows them', () =>
    withTempDir(async (folder) => {
      const source = await makeImage(folder)
      chmodSync(folder, 0o755)
      const place = join(folder, 'user')
      for (const path of [place, join(place, 'm')]) {
        mkdirSync(path)
        chownSync(path, 65_534, 65_534)
      }
      const words = [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        ATOMFS_FUSE,
        'unpack',
        source,
        join(place, 'out'),
      ]
      const { stdout, stderr } = await run('setpriv', words)
      expect(stderr).toBe('')
      const script = `set -e; fuse-overlayfs -o "$1,xattr_permissions=2" "$0"; ${LIST}; cd /; umount "$0"`
      const shown = await run('unshare', ['-m', 'sh', '-c', script, join(place, 'm'), stdout.trim()], {
        cwd: '/',
      })
      // fuse-overlayfs 1.10 shows a link whose owner is written down as a file.
      expect(shown.stdout.replace(/link f 777 0:0 $/m, 'link l 777 0:0 /etc')).toBe(EXPECTED)
    }))

  test('refuses what it would mix with, and says which layer is damaged', () =>
    withTempDir(async (folder) => {
      const source = await makeImage(folder)
      const full = await atomfsFuse(['unpack', source, folder], { allowFailure: true })
      expect(full).toMatchObject({ status: 1, stdout: '' })
      expect(full.stderr).toMatch(/^Error: .* is not empty: name another place, or empty it\n$/)
      const colon = await atomfsFuse(['unpack', source, join(folder, 'a:b')], { allowFailure: true })
      expect(colon.stderr).toMatch(/^Error: .*cannot name a path with a colon, a comma or a backslash\n$/)
      const blobs = join(folder, 'layout/blobs/sha256')
      for (const name of readdirSync(blobs)) {
        const path = join(blobs, name)
        if (statSync(path).size === statSync(join(folder, 'three.tar.gz')).size)
          execFileSync('sh', ['-c', 'printf x | dd of="$0" bs=1 seek=20 conv=notrunc status=none', path])
      }
      const damaged = await atomfsFuse(['unpack', source, join(folder, 'out')], { allowFailure: true })
      expect(damaged.status).toBe(1)
      expect(damaged.stderr).toMatch(/^Error: layer 3 of 3, sha256:\w+: .*\n$/)
    }))

  test('no entry of an archive leaves the directory of its layer', () =>
    withTempDir(async (folder) => {
      const outside = join(folder, 'outside')
      mkdirSync(outside)
      const tree = join(folder, 'tree')
      mkdirSync(tree)
      symlinkSync(outside, join(tree, 'away'))
      const first = join(folder, 'a.tar')
      execFileSync('tar', ['-C', tree, '-cf', first, 'away'])
      mkdirSync(join(folder, 'second/away'), { recursive: true })
      writeFileSync(join(folder, 'second/away/file'), 'x')
      execFileSync('tar', ['-C', join(folder, 'second'), '-rf', first, 'away/file'])
      // The link is followed inside of the layer, as a mount would.
      await atomfsFuse(['unpack', first, join(folder, 'out')])
      expect(readdirSync(outside)).toEqual([])
      expect(existsSync(join(folder, 'out/1', outside, 'file'))).toBe(true)
    }))
})
