import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compareChanges, runChanges } from '../library/changes/run.ts'
import { mke2fs, withKernelExt } from '../library/images/ext.ts'
import { makeSif, SIF_TYPE } from '../library/images/sif.ts'
import {
  ATOMFS_FUSE,
  compareTrees,
  daemonPid,
  isMounted,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
  unmount,
  walkInChild,
  walkTree,
  withAtomfs,
  withTempDir,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { inScene, readLog, type Scene, SILENT } from '../library/scenes/life.ts'

/** Changes that go into an ext3 file system, which fuse2fs writes: `-o ext3=fuse2fs`. */

const need = needs('root', 'fuse', 'loop', 'mke2fs', 'e2fsck', 'mksquashfs', 'fuse2fs')
const withUser = needs('root', 'fuse', 'mke2fs', 'mksquashfs', 'fuse2fs', 'setpriv', 'fusermount3')

const HELPED = ['-o', 'ext3=fuse2fs']
const OWN = ['-o', 'ext3=fuse2fs,uid=me,gid=me']

let temp = ''
let base = ''
let fresh = ''
beforeAll(async () => {
  if (!need.ok) return
  temp = makeTempDir()
  chmodSync(temp, 0o755)
  mkdirSync(join(temp, 'tree/etc/deep'), { recursive: true })
  for (const name of ['kept', 'gone', 'moved', 'deep/in'])
    writeFileSync(join(temp, 'tree/etc', name), `${name}\n`)
  base = await mksquashfs(join(temp, 'tree'), join(temp, 'base.sqfs'))
  for (const name of ['upper', 'work']) mkdirSync(join(temp, 'overlay', name), { recursive: true })
  fresh = await overlay('fresh.img')
}, 60_000)
afterAll(() => {
  if (temp !== '') removeTempDir(temp)
})

/** An image as `apptainer overlay create` makes it. */
function overlay(name: string, options = '-t ext3 -b 1024', megabytes = 16): Promise<string> {
  return mke2fs(join(temp, name), { options, megabytes, from: join(temp, 'overlay') })
}

function copyOf(image: string, name: string): string {
  const copy = join(temp, name)
  copyFileSync(image, copy)
  return copy
}

/** Nothing of the helper is left, and what it wrote is in order. */
async function expectClean(image: string, { runDir }: Pick<Scene, 'runDir'>, offset = 0): Promise<void> {
  await until(() => helpers(runDir).length === 0, 'the end of fuse2fs')
  expect(readdirSync(runDir).filter((name) => name.startsWith('ext3'))).toEqual([])
  const place = offset === 0 ? image : `${image}?offset=${offset}`
  expect(await run('e2fsck', ['-f', '-n', place])).toMatchObject({ status: 0 })
  const { stdout } = await run('dumpe2fs', ['-h', place])
  expect(stdout).toMatch(/^Filesystem state: +clean$/m)
}

/** Processes whose mount is for a place in the runtime folder. */
function helpers(runDir: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`${runDir}/ext3-`)
      } catch {
        return false
      }
    })
    .map(Number)
}

describe.skipIf(!need.ok)(titled('changes in an ext3 file system', need), () => {
  test('they are in the overlay of a SIF when it is unmounted, and later mounts and the kernel show them', async () => {
    const partition = (file: string, fileSystem: number, use: number) => ({
      ...{ type: SIF_TYPE.partition, data: readFileSync(file) },
      partition: [fileSystem, use, '02'] as const,
    })
    const file = join(temp, 'image.sif')
    const bytes = makeSif({ parts: [partition(base, 1, 2), partition(fresh, 2, 4)] })
    writeFileSync(file, bytes)
    const offset = bytes.indexOf(readFileSync(fresh))
    await inScene(async (scene) => {
      const { target, atomfs } = scene
      expect(await atomfs('mount', ...HELPED, file, target)).toMatchObject(SILENT)
      const etc = join(target, 'etc')
      writeFileSync(join(etc, 'kept'), 'changed\n')
      await run(
        'sh',
        [
          '-ec',
          'rm gone; mv moved now; rm -r deep; mkdir deep; mkdir -m 700 new; ln now new/link; chown 7:8 now',
          'sh',
        ],
        { cwd: etc },
      )
      await run(
        'sh',
        [
          '-ec',
          'cp -a . /new-copy 2>/dev/null; dd if=/dev/zero of=big bs=64k count=32 status=none; truncate -s 100M sparse',
        ],
        { cwd: etc },
      )
      expect((await atomfs('status', target)).stdout).toContain(`in ${file}:2;`)
      const seen = await walkInChild(target)
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
      await expectClean(file, scene, offset)
      const options = { ignoreDirectoryNlink: true }
      const ours = await withAtomfs(temp, file, ({ target }) => walkInChild(target))
      expect(compareTrees(ours, seen, options)).toEqual([])
      const part = join(temp, 'part.img')
      writeFileSync(part, readFileSync(file).subarray(offset))
      const names = await withKernelExt(temp, part, async (target) => {
        const upper = await walkTree(join(target, 'upper'))
        return upper.map(({ path }) => path)
      })
      expect(names).toEqual(expect.arrayContaining(['etc/now', 'etc/new/link', 'etc/gone', 'etc/big']))
      // The rest of the file is as it was.
      expect(readFileSync(file).subarray(0, offset).equals(bytes.subarray(0, offset))).toBe(true)
    })
  })

  test('an image of its own is named with --upper, and keeps changes from mount to mount', async () => {
    const image = copyOf(fresh, 'own.img')
    await inScene(async (scene) => {
      const { target, atomfs } = scene
      for (const round of [1, 2]) {
        expect(await atomfs('mount', '--upper', image, ...HELPED, base, target)).toMatchObject(SILENT)
        expect(readdirSync(target)).toEqual(['etc', ...(round === 1 ? [] : ['round-1'])])
        writeFileSync(join(target, `round-${round}`), 'x')
        await unmount(target)
        await expectClean(image, scene)
      }
      const words = ['-o', `lowerdir=${join(temp, 'tree')},upperdir=${image},ext3=fuse2fs`]
      expect(await atomfs('overlay', ...words, target)).toMatchObject({ status: 0 })
      expect(readdirSync(target)).toEqual(['etc', 'round-1', 'round-2'])
      await unmount(target)
      await expectClean(image, scene)
    })
  })

  test('random changes come to the same as in a directory', async () => {
    const image = await overlay('random.img', '-t ext3 -b 4096', 64)
    const request = {
      seed: 7,
      steps: 60,
      every: 20,
      skipGhosts: true,
      actors: true,
      capabilities: false,
      acls: false,
    }
    await withTempDir(async (folder) => {
      const change = (words: readonly string[]) =>
        withAtomfs(folder, base, ({ target }) => runChanges(target, request), [...words, '-o', 'dev,suid'])
      const plain = await change(['--upper', join(folder, 'upper')])
      expect(compareChanges(await change(['--upper', image, ...HELPED]), plain)).toEqual([])
    })
  })

  test.each(['SIGTERM', 'SIGKILL'] as const)(
    '%s of the process leaves all that was written, and no program',
    async (signal) => {
      const image = copyOf(fresh, `${signal}.img`)
      await inScene(async (scene) => {
        const { target, runDir, atomfs } = scene
        expect(await atomfs('mount', '--upper', image, ...HELPED, base, target)).toMatchObject(SILENT)
        writeFileSync(join(target, 'written'), 'x'.repeat(100_000))
        const pid = daemonPid(runDir)
        process.kill(pid, signal)
        await until(() => isGone(pid), 'the end of the process')
        await expectClean(image, scene)
        if (isMounted(target)) await unmount(target)
        expect(await atomfs('cat', image, 'upper/written')).toMatchObject({ stdout: 'x'.repeat(100_000) })
        expect(await atomfs('mount', '--upper', image, ...HELPED, base, target)).toMatchObject({ status: 0 })
        expect(readdirSync(target)).toContain('written')
        await unmount(target)
        await expectClean(image, scene)
      })
    },
  )

  test('fuse2fs does not keep a mount namespace that everybody has left', async () => {
    const image = copyOf(fresh, 'namespace.img')
    await inScene(async ({ target, runDir }) => {
      const words = ['-m', ATOMFS_FUSE, 'mount', '--upper', image, ...HELPED, base, target]
      const { stderr } = await run('unshare', words, { env: { ATOMFS_TEST_RUN_DIR: runDir } })
      expect(stderr).toBe('')
      expect(helpers(runDir)).toHaveLength(1)
      await expectClean(image, { runDir })
    })
  })

  test('a mount whose fuse2fs was killed says so in its log, and ends', async () => {
    const image = copyOf(fresh, 'killed.img')
    await inScene(async (scene) => {
      const { target, runDir, atomfs } = scene
      expect(await atomfs('mount', '--upper', image, ...HELPED, base, target)).toMatchObject(SILENT)
      for (const pid of helpers(runDir)) process.kill(pid, 'SIGKILL')
      await until(() => readLog(runDir).includes('nothing can be changed any more'), 'the line in the log')
      // What the upper has of a name cannot be known any more.
      expect(() => writeFileSync(join(target, 'x'), 'x')).toThrow('ENOTCONN')
      expect(() => readFileSync(join(target, 'etc/kept'))).toThrow('ENOTCONN')
      await atomfs('umount', target)
      expect(isMounted(target)).toBe(false)
      const { stderr } = await atomfs('mount', '--upper', image, ...HELPED, base, target)
      expect(stderr).toBe(`Error: ${image} was not unmounted: run e2fsck -f '${image}'\n`)
    })
  })

  test('while it is written others may neither write nor read it, and are told who does', async () => {
    const image = copyOf(fresh, 'locked.img')
    await inScene(async (scene) => {
      const { folder, target, runDir, atomfs } = scene
      const other = join(folder, 'other')
      mkdirSync(other)
      expect(await atomfs('mount', '--upper', image, ...HELPED, base, target)).toMatchObject(SILENT)
      const [pid] = helpers(runDir)
      const refused = (message: string) => ({ status: 1, stderr: `Error: ${message}\n` })
      expect(await atomfs('mount', '--upper', image, ...HELPED, base, other)).toMatchObject(
        refused(`${image}: is in use by process ${pid}: wait for its end`),
      )
      expect(await atomfs('ls', image)).toMatchObject(
        refused(`${image}: is being changed by process ${pid}: wait for its end`),
      )
      await unmount(target)
      await expectClean(image, scene)
      // Readers keep out who wants to write, and not each other.
      expect(await atomfs('mount', image, target)).toMatchObject(SILENT)
      expect(await atomfs('ls', image)).toMatchObject({ status: 0 })
      expect(await atomfs('mount', '--upper', image, ...HELPED, base, other)).toMatchObject(
        refused(`${image}: is in use by process ${daemonPid(runDir)}: wait for its end`),
      )
      expect(helpers(runDir)).toEqual([])
    })
  })

  test('an image that must not be written is refused in one line that says what to do, and nothing is left', async () => {
    const crashed = copyOf(fresh, 'to-crash.img')
    const copy = join(temp, 'crashed.img')
    await withKernelExt(
      temp,
      crashed,
      async (target) => {
        writeFileSync(join(target, 'upper/x'), 'x')
        await run('sync', ['-f', target])
        copyFileSync(crashed, copy)
      },
      'rw',
    )
    const dirty = copyOf(fresh, 'dirty.img')
    await run('debugfs', ['-w', '-R', 'ssv state 0', dirty])
    const damaged = copyOf(fresh, 'errors.img')
    await run('debugfs', ['-w', '-R', 'ssv state 2', damaged])
    const before = [copy, dirty, damaged, base].map((file) => readFileSync(file))
    await inScene(async (scene) => {
      const { target, runDir, atomfs } = scene
      for (const [words, message] of [
        [
          ['--upper', copy, base],
          `${copy} has a journal that was not replayed: run e2fsck -y -E journal_only '${copy}'`,
        ],
        [['--upper', dirty, base], `${dirty} was not unmounted: run e2fsck -f '${dirty}'`],
        [['--upper', damaged, base], `${damaged} is marked as having errors: run e2fsck -f '${damaged}'`],
        [['--upper', base, base], `${base} is no ext3 file system, the only one that ext3=fuse2fs writes to`],
        [['--upper', temp, base], `${temp} is a directory: ext3=fuse2fs writes to ext3 file systems`],
        [[base], `${base} has no ext3 overlay on top: name an image for changes with --upper IMAGE`],
        [['--persist', temp, base], 'ext3= says where changes go: leave --persist out'],
      ] as const) {
        const { status, stderr } = await atomfs('mount', ...HELPED, ...words, target)
        expect([status, stderr]).toEqual([1, `Error: ${message}\n`])
      }
      expect(await atomfs('mount', '-o', 'ext3=other', base, target)).toMatchObject({ status: 1 })
      expect(isMounted(target)).toBe(false)
      expect(helpers(runDir)).toEqual([])
    })
    expect([copy, dirty, damaged, base].map((file, i) => readFileSync(file).equals(before[i]!))).toEqual(
      Array(4).fill(true),
    )
    await run('e2fsck', ['-y', '-E', 'journal_only', copy])
    await inScene(async (scene) => {
      expect(await scene.atomfs('mount', '--upper', copy, ...HELPED, base, scene.target)).toMatchObject({
        status: 0,
      })
      expect(readdirSync(scene.target)).toEqual(['etc', 'x'])
    })
  })

  test('with ro nothing is written, and no program is needed', async () => {
    const file = join(temp, 'shown.sif')
    const partition = (name: string, fileSystem: number, use: number) => ({
      ...{ type: SIF_TYPE.partition, data: readFileSync(name) },
      partition: [fileSystem, use, '02'] as const,
    })
    writeFileSync(file, makeSif({ parts: [partition(base, 1, 2), partition(fresh, 2, 4)] }))
    await inScene(async ({ target, runDir, atomfs }) => {
      expect(await atomfs('mount', '-o', 'ext3=fuse2fs,ro', file, target)).toMatchObject(SILENT)
      expect(helpers(runDir)).toEqual([])
      expect(() => writeFileSync(join(target, 'x'), 'x')).toThrow('EROFS')
      await unmount(target)
      const { status, stderr } = await atomfs(
        'mount',
        '--upper',
        fresh,
        '-o',
        'ext3=fuse2fs,ro',
        base,
        target,
      )
      expect([status, stderr]).toEqual([
        1,
        expect.stringMatching(/^Error: ro, and .* for changes: [^\n]*\n$/),
      ])
    })
  })

  test('commit says that the changes are in the file system, and what to do', async () => {
    const image = copyOf(fresh, 'commit.img')
    await inScene(async (scene) => {
      const { folder, target, atomfs } = scene
      expect(await atomfs('mount', '--upper', image, ...HELPED, base, target)).toMatchObject(SILENT)
      writeFileSync(join(target, 'changed'), 'x')
      const layout = join(folder, 'layout')
      for (const words of [[], ['--squash']]) {
        const { status, stdout, stderr } = await atomfs('commit', ...words, target, `${layout}:x`)
        expect([status, stdout]).toEqual([1, ''])
        expect(stderr).toBe(
          `Error: ${target}: its changes are in ${image}, which is open for writing: unmount it, and use 'atomfs-fuse convert'\n`,
        )
      }
      expect(existsSync(layout)).toBe(false)
      await unmount(target)
      await expectClean(image, scene)
      // What the line says works.
      const words = ['-o', `lowerdir=${image}:${base}`]
      expect(await atomfs('overlay', ...words, target)).toMatchObject(SILENT)
      expect(readdirSync(target)).toEqual(['changed', 'etc'])
    })
  })

  /** The moment between the mount of fuse2fs and that of the image, or the one before it. */
  test.each(['when fuse2fs has mounted', 'with its fuse2fs', 'before fuse2fs has mounted'] as const)(
    'what a process leaves that is killed %s is gone with the next such mount',
    async (moment) => {
      const [image, other] = ['same', 'other'].map((name) =>
        copyOf(fresh, `${moment.slice(0, 4)}-${name}.img`),
      )
      await inScene(async (scene) => {
        const { folder, target, runDir, atomfs } = scene
        const bin = join(folder, 'bin')
        mkdirSync(bin)
        const real = (await run('which', ['fuse2fs'])).stdout.trim()
        const waits = !moment.startsWith('before') ? 'until mountpoint -q "$place"; do sleep 0.02; done' : ':'
        const script = `#!/bin/sh
          for place; do :; done
          kill -STOP $PPID
          ${real} "$@" & helper=$!
          ${waits}
          kill -KILL $PPID ${moment.startsWith('with') ? '$helper' : ''}
          wait $helper`
        writeFileSync(join(bin, 'fuse2fs'), script, { mode: 0o755 })
        const env = { ATOMFS_TEST_RUN_DIR: runDir, PATH: `${bin}:${process.env['PATH']}` }
        const words = ['mount', '--upper', image!, ...HELPED, base, target]
        const { status, stderr } = await run(ATOMFS_FUSE, words, { env, allowFailure: true })
        expect(status).toBe(1)
        const left = (): string[] => readdirSync(runDir).filter((name) => name.startsWith('ext3'))
        if (moment === 'with its fuse2fs') {
          // The launcher has tried again: that was the next mount.
          expect(stderr).toBe(`Error: ${image} was not unmounted: run e2fsck -f '${image}'\n`)
          await run('e2fsck', ['-f', '-y', image!], { allowFailure: true })
        } else await until(() => isMounted(join(runDir, left()[0] ?? '')), 'what is left')
        expect(isMounted(target)).toBe(false)
        for (const next of [image, other]) {
          expect(await atomfs('mount', '--upper', next!, ...HELPED, base, target)).toMatchObject(SILENT)
          expect(left()).toEqual([])
          writeFileSync(join(target, 'written'), 'x')
          await unmount(target)
          await expectClean(next!, scene)
        }
      })
    },
  )

  test('a link of this program is not taken for fuse2fs, and without one that is said', async () => {
    const image = copyOf(fresh, 'found.img')
    await inScene(async (scene) => {
      const { folder, target, runDir } = scene
      const links = join(folder, 'links')
      mkdirSync(links)
      symlinkSync(ATOMFS_FUSE, join(links, 'fuse2fs'))
      const env = { ATOMFS_TEST_RUN_DIR: runDir, PATH: `${links}:${process.env['PATH']}` }
      const words = ['mount', '--upper', image, ...HELPED, base, target]
      expect(await run(ATOMFS_FUSE, words, { env })).toMatchObject(SILENT)
      await unmount(target)
      await expectClean(image, scene)
      const hidden = 'for one in $(which -a fuse2fs); do mount --bind "$0" "$one"; done; exec "$@"'
      const words2 = ['-m', 'sh', '-ec', hidden, join(temp, 'tree/etc/kept'), ATOMFS_FUSE, ...words]
      const { status, stderr } = await run('unshare', words2, {
        env: { ATOMFS_TEST_RUN_DIR: runDir },
        allowFailure: true,
      })
      expect([status, stderr]).toEqual([
        1,
        'Error: ext3=fuse2fs: the program fuse2fs is not installed (Debian: package fuse2fs)\n',
      ])
    })
  })
})

test.skipIf(!withUser.ok)(
  titled('a plain user writes an ext3 file system that is his', withUser),
  async () => {
    await withTempDir(async (folder) => {
      chmodSync(folder, 0o755)
      const place = join(folder, 'place')
      const [target, runDir, device] = ['mnt', 'run', 'fuse'].map((name) => join(place, name)) as [
        string,
        string,
        string,
      ]
      for (const path of [place, target, runDir]) mkdirSync(path)
      const image = copyOf(fresh, 'user.img')
      for (const path of [place, target, runDir, image]) chownSync(path, 1, 1)
      await run('mknod', ['-m', '666', device, 'c', '10', '229'])
      const script = `
      mount --bind "$0" /dev/fuse
      user() { setpriv --reuid=1 --regid=1 --clear-groups "$@"; }
      user "$@" && user sh -ec 'cd "$0/etc"; echo mine >own; rm gone; mv kept renamed; cat own' ${target}
      user ${ATOMFS_FUSE} umount ${target}`
      const words = [device, ATOMFS_FUSE, 'mount', '--upper', image, ...OWN, base, target]
      const { stdout, stderr } = await run('unshare', ['-m', 'sh', '-ec', script, ...words], {
        env: { ATOMFS_TEST_RUN_DIR: runDir, HOME: place },
      })
      expect([stdout, stderr]).toEqual(['mine\n', ''])
      await expectClean(image, { runDir })
      const names = await withAtomfs(folder, image, ({ target }) => readdirSync(join(target, 'upper/etc')))
      expect(names).toEqual(['gone', 'kept', 'own', 'renamed'])
    })
  },
)
