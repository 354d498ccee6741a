import { closeSync, existsSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  appendVerity,
  atomfsFuse,
  buildSourceTree,
  COMPRESSORS,
  compareTrees,
  daemonPid,
  findFuseNative,
  isMounted,
  makeTempDir,
  mksquashfs,
  needs,
  type RunResult,
  readInodes,
  removeTempDir,
  run,
  seenByKernel,
  seenByUs,
  type TreeEntry,
  titled,
  walkInChild,
  walkTree,
  withAtomfs,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, inScene, readLog, type Scene, SILENT } from '../library/scenes/life.ts'

/** The optional driver: the same trees as with the built-in one, and the same ends. */

const fixtures = fileURLToPath(new URL('../../fixtures', import.meta.url))
const temp = makeTempDir()
const facilities = needs('root', 'fuse', 'mksquashfs')
const need = facilities.ok ? await findFuseNative(temp) : { ...facilities, folder: '' }
// No hook runs in a file of which every test is skipped.
if (!need.ok) removeTempDir(temp)
const needKernel = needs('kernel-squashfs', 'loop')
const withKernel = need.ok && !needKernel.ok ? needKernel : need
const withUnsquashfs = need.ok ? needs('unsquashfs') : need

// Access by root alone, or names of `trusted.` attributes are not shown: libfuse does not say who asks.
const DRIVER = ['--driver-path', need.folder, '-o', 'driver=fuse-native,noallow_other']
/** What text cannot hold is not shown; a test of its own says so. */
const AS_TEXT = { noInvalidUtf8: true }

let small = ''
beforeAll(() => {
  if (!need.ok) return
  small = join(temp, 'small')
  mkdirSync(small)
  buildSourceTree(small, { size: 'small', ...AS_TEXT })
})
afterAll(() => removeTempDir(temp))

function seen(image: string, args: readonly string[] = []): Promise<TreeEntry[]> {
  return seenByUs(temp, image, [...DRIVER, ...args])
}

describe.skipIf(!withKernel.ok)(
  titled('driver=fuse-native beside the mount of the kernel', withKernel),
  () => {
    // lzma is in no kernel.
    test.each(COMPRESSORS.filter((name) => name !== 'lzma'))(
      'a mount by fuse-native equals the mount of the kernel: %s',
      async (compressor) => {
        const image = await mksquashfs(small, join(temp, `${compressor}.squashfs`), { compressor })
        const kernel = await seenByKernel(temp, image)
        expect(kernel.length).toBeGreaterThan(400)
        expect(compareTrees(await seen(image), kernel)).toEqual([])
      },
    )

    test.skipIf(process.env['ATOMFS_STRESS'] === undefined)(
      'a mount by fuse-native equals that of the kernel for 30 000 names in a directory and 120 levels (needs ATOMFS_STRESS)',
      async () => {
        const full = join(temp, 'full')
        mkdirSync(full)
        // Each page of a hole goes through libfuse: the 5 GiB of `differential.test.ts` would take a minute here.
        buildSourceTree(full, { size: 'full', noSparse: true, ...AS_TEXT })
        const image = await mksquashfs(full, join(temp, 'full.squashfs'), { compressor: 'zstd' })
        const kernel = await seenByKernel(temp, image)
        expect(kernel.length).toBeGreaterThan(36_000)
        expect(compareTrees(await seen(image), kernel)).toEqual([])
      },
    )
  },
)

describe.skipIf(!withUnsquashfs.ok)(titled('driver=fuse-native beside unsquashfs', withUnsquashfs), () => {
  test('a mount by fuse-native equals unsquashfs for lzma', async () => {
    const image = await mksquashfs(small, join(temp, 'lzma.squashfs'), { compressor: 'lzma' })
    const unpacked = join(temp, 'unpacked')
    await run('unsquashfs', ['-no-progress', '-quiet', '-d', unpacked, image])
    const ignore = ['blocks'] as const
    expect(
      compareTrees(await seen(image), walkTree(unpacked), { ignore, ignoreDirectoryNlink: true }),
    ).toEqual([])
  })
})

describe.skipIf(!need.ok)(titled('driver=fuse-native', need), () => {
  test('fuse-native shows the golden tree of three verified layers, with an inode number for each file', async () => {
    const golden = JSON.parse(readFileSync(`${fixtures}/oci.demo.tree.json`, 'utf8')) as TreeEntry[]
    await withAtomfs(
      temp,
      `${fixtures}/oci:demo`,
      async ({ target }) => {
        const actual = await walkInChild(target)
        expect(compareTrees(actual, golden, { ignoreDirectoryNlink: true })).toEqual([])
        const links = actual.filter(({ path, linkGroup }) => linkGroup !== undefined && linkGroup !== path)
        expect(links.length).toBeGreaterThan(0)
        const inodes = await readInodes(target)
        expect(new Set(inodes.values()).size).toBe(actual.length - links.length)
      },
      DRIVER,
    )
  })

  test('fuse-native leaves out names that are not UTF-8, logs this, and shows other names', async () => {
    const tree = join(temp, 'names')
    mkdirSync(tree)
    writeFileSync(join(tree, 'größe'), 'text')
    writeFileSync(Buffer.concat([Buffer.from(`${tree}/`), Buffer.from('odd\xff', 'latin1')]), 'bytes')
    await run('ln', ['-s', Buffer.from('größe').toString(), join(tree, 'good')])
    await run('sh', ['-c', `ln -s "$(printf 'odd\\377')" "$0"`, join(tree, 'bad')])
    const image = await mksquashfs(tree, join(temp, 'names.squashfs'))
    await played(async ({ target, runDir, mount }) => {
      expect(await mount(image)).toMatchObject(SILENT)
      const listed = await run('find', [target, '-mindepth', '1', '-printf', '%f\\n'])
      expect(listed.stdout.split('\n').sort()).toEqual(['', 'bad', 'good', 'größe'])
      expect((await run('cat', [join(target, 'good')])).stdout).toBe('text')
      const byName = await run('sh', ['-c', `cat "$0/$(printf 'odd\\377')"`, target], { allowFailure: true })
      expect(byName.stderr).toContain('No such file')
      const link = await run('readlink', ['-v', join(target, 'bad')], { allowFailure: true })
      expect(link.stderr).toContain('not supported')
      expect(readLog(runDir)).toContain('names that are not UTF-8 are not shown by driver=fuse-native: in / ')
    })
  })

  test('a damaged block under fuse-native is EIO for its file only, and verify finds it', async () => {
    const tree = join(temp, 'damaged')
    mkdirSync(tree)
    writeFileSync(join(tree, 'bad'), Buffer.alloc(400_000, 'x'))
    writeFileSync(join(tree, 'good'), Buffer.alloc(10_000, 'y'))
    const image = await mksquashfs(tree, join(temp, 'damaged.squashfs'), { extra: ['-noD', '-no-fragments'] })
    const { rootHash } = await appendVerity(image)
    const bytes = readFileSync(image)
    const at = bytes.indexOf('x'.repeat(5000))
    bytes[at + 4500] = 'z'.charCodeAt(0)
    writeFileSync(image, bytes)
    await played(async ({ target, mount, atomfs }) => {
      expect(await mount(image, ['--root-hash', rootHash, '--verify=lazy'])).toMatchObject(SILENT)
      const bad = await run('cat', [join(target, 'bad')], { allowFailure: true })
      expect(bad).toMatchObject({ status: 1 })
      expect(bad.stderr).toContain('Input/output error')
      expect((await run('cat', [join(target, 'good')])).stdout).toBe('y'.repeat(10_000))
      expect((await atomfs('verify', target)).stdout).toContain('CORRUPTION FOUND')
    })
  })

  test('a mount by fuse-native cannot be changed, even after a remount for writing', async () => {
    const image = await mksquashfs(small, join(temp, 'ro.squashfs'))
    await played(async ({ target, mount }) => {
      await mount(image)
      const writes = [
        'touch "$0/new"',
        'rm "$0/types/file"',
        'echo x | tee -a "$0/types/file"',
        'mkdir "$0/types/d"',
      ]
      const refused = async (line: string): Promise<void> => {
        const { status, stderr } = await run('sh', ['-c', line, target], { allowFailure: true })
        expect(status).not.toBe(0)
        expect(stderr).toContain('Read-only file system')
      }
      for (const line of writes) await refused(line)
      await run('mount', ['-i', '-o', 'remount,rw', target])
      for (const line of writes) await refused(line)
    })
  })

  test('status shows the driver fuse-native as text and JSON, and --debug logs its requests', async () => {
    const image = await mksquashfs(small, join(temp, 'status.squashfs'))
    await played(async ({ target, runDir, mount, atomfs }) => {
      await mount(image, ['--debug'])
      await run('cat', [join(target, 'types/file')])
      expect((await atomfs('status', target)).stdout).toMatch(/^driver: {4}fuse-native$/m)
      expect(JSON.parse((await atomfs('status', '--json', target)).stdout)).toMatchObject({
        driver: 'fuse-native',
        counters: { requests: expect.any(Number), cacheMisses: 1 },
      })
      expect(readLog(runDir)).toContain('getattr "/types/file" -> done')
    })
    await inScene(async ({ target, atomfs }) => {
      await atomfs('mount', image, target)
      expect((await atomfs('status', target)).stdout).not.toContain('driver')
      expect(JSON.parse((await atomfs('status', '--json', target)).stdout).driver).toBe('builtin')
    })
  })

  test('fuse-native covers a target with files, and several of its mounts run side by side', async () => {
    const image = await mksquashfs(small, join(temp, 'side.squashfs'))
    await played(async ({ folder, target, mount, atomfs }) => {
      const other = join(folder, 'other')
      mkdirSync(other)
      writeFileSync(join(target, 'covered'), '')
      expect(await mount(image)).toMatchObject(SILENT)
      const mounted = await atomfsFuse(['mount', ...DRIVER, image, other], {
        runDir: join(folder, 'run'),
      })
      expect(mounted).toMatchObject(SILENT)
      expect((await run('ls', [target])).stdout).toBe((await run('ls', [other])).stdout)
      expect(await atomfs('umount', other)).toMatchObject(SILENT)
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
      expect(existsSync(join(target, 'covered'))).toBe(true)
    })
  })
})

describe.skipIf(!need.ok)(titled('the end of a mount by fuse-native', need), () => {
  test.each([
    ['umount(8)', 'umount', []],
    ['umount -l', 'umount', ['-l']],
  ])('a mount by fuse-native ends by %s', async (_, program, args) => {
    await inPlay(async ({ target, runDir }, pid) => {
      await run(program, [...args, target])
      await expectEnd(pid, runDir, target)
    })
  })

  test('a mount by fuse-native ends by atomfs-fuse umount', async () => {
    await inPlay(async ({ target, runDir, atomfs }, pid) => {
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
      await expectEnd(pid, runDir, target)
    })
  })

  test('a mount by fuse-native ends by SIGTERM, and serves open files until they are closed', async () => {
    await inPlay(async ({ target, runDir }, pid) => {
      const file = openSync(join(target, 'types/file'), 'r')
      try {
        process.kill(pid, 'SIGTERM')
        await until(() => !isMounted(target), 'the unmount')
        const { stdout } = await run('cat', [`/proc/${process.pid}/fd/${file}`])
        expect(stdout).toBe('plain\n')
        expect(isGone(pid)).toBe(false)
      } finally {
        closeSync(file)
      }
      await expectEnd(pid, runDir, target)
    })
  })

  test('umount cleans up a mount by fuse-native after kill -9', async () => {
    await inPlay(async ({ target, runDir, atomfs }, pid) => {
      process.kill(pid, 'SIGKILL')
      await until(() => isGone(pid), 'the end of the daemon')
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
      expect(isMounted(target)).toBe(false)
      expect(entries(runDir)).toEqual([])
    })
  })

  test('a mount by fuse-native in the foreground ends by umount', async () => {
    const image = await mksquashfs(small, join(temp, 'foreground.squashfs'))
    await played(async ({ target, runDir }) => {
      const ended = atomfsFuse(['mount', '-f', ...DRIVER, image, target], { runDir, allowFailure: true })
      await until(() => isMounted(target), 'the mount')
      expect((await run('cat', [join(target, 'types/file')])).stdout).toBe('plain\n')
      await run('umount', [target])
      expect(await ended).toMatchObject(SILENT)
      expect(entries(runDir)).toEqual([])
    })
  })
})

describe.skipIf(!need.ok)(titled('errors of fuse-native in one line', need), () => {
  const refused = async (scene: Played, result: RunResult, text: RegExp): Promise<void> => {
    expect(result).toMatchObject({ status: 1, stdout: '' })
    expect(result.stderr).toMatch(text)
    expect(result.stderr.trimEnd().split('\n')).toHaveLength(1)
    expect(entries(scene.runDir)).toEqual([])
    expect(isMounted(scene.target)).toBe(false)
  }

  test('fuse-native refuses a source that is too long and a target that is a mount point', async () => {
    const image = await mksquashfs(small, join(temp, 'refused.squashfs'))
    await played(async (scene) => {
      const long = await scene.mount(image, ['-o', `fsname=${'n'.repeat(1000)}`])
      await refused(scene, long, /^Error: the source \(or fsname=\) is too long for driver=fuse-native/)
      await run('mount', ['-t', 'tmpfs', 'none', scene.target])
      const busy = await scene.mount(image)
      await run('umount', [scene.target])
      await refused(
        scene,
        busy,
        /^Error: fuse-native could not mount on .*: it takes no mount point as a target/,
      )
    })
  })

  test('fuse-native refuses a target that the caller has mounted', async () => {
    const image = join(temp, 'refused.squashfs')
    await played(async (scene) => {
      const args = ['mount', ...DRIVER, image, '/dev/fd/5']
      const line = `exec 5<>/dev/fuse; exec "$0" "$@"`
      const { ATOMFS_FUSE } = await import('../library/index.ts')
      const result = await run('bash', ['-c', line, ATOMFS_FUSE, ...args], {
        env: { ATOMFS_TEST_RUN_DIR: scene.runDir },
        allowFailure: true,
      })
      await refused(scene, result, /^Error: driver=fuse-native mounts itself: target .* needs driver=builtin/)
    })
  })
})

interface Played extends Scene {
  readonly mount: (image: string, args?: readonly string[]) => Promise<RunResult>
}

function played(play: (scene: Played) => Promise<void>): Promise<void> {
  return inScene((scene) => {
    const mount = (image: string, args: readonly string[] = []): Promise<RunResult> =>
      atomfsFuse(['mount', ...DRIVER, ...args, image, scene.target], {
        runDir: scene.runDir,
        allowFailure: true,
      })
    return play({ ...scene, mount })
  })
}

/** With a mount that has been read from. */
async function inPlay(play: (scene: Played, pid: number) => Promise<void>): Promise<void> {
  const image = join(temp, 'life.squashfs')
  if (statSync(image, { throwIfNoEntry: false }) === undefined) await mksquashfs(small, image)
  await played(async (scene) => {
    expect(await scene.mount(image)).toMatchObject(SILENT)
    expect((await run('cat', [join(scene.target, 'types/file')])).stdout).toBe('plain\n')
    await play(scene, daemonPid(scene.runDir))
  })
}

async function expectEnd(pid: number, runDir: string, target: string): Promise<void> {
  await until(() => isGone(pid), 'the end of the daemon')
  expect(isMounted(target)).toBe(false)
  expect(entries(runDir)).toEqual([])
}
