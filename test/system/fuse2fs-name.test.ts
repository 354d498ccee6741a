import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mke2fs } from '../library/images/ext.ts'
import { makeSif, SIF_TYPE } from '../library/images/sif.ts'
import {
  ATOMFS_FUSE,
  isMounted,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
  unmount,
} from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import { entries, inScene, type Scene } from '../library/scenes/life.ts'

/** The name fuse2fs, and squashfuse beside it, on the partitions of a SIF, as Apptainer calls them. */

const need = needs('root', 'fuse', 'mke2fs', 'mksquashfs')

let temp = ''
let image = ''
let sif = ''
const offsets = { root: 0, overlay: 0 }
beforeAll(async () => {
  temp = makeTempDir()
  if (!need.ok) return
  writeFileSync(join(temp, 'motd'), 'hello\n')
  await run('mkdir', [join(temp, 'tree')])
  await run('mv', [join(temp, 'motd'), join(temp, 'tree')])
  image = await mke2fs(join(temp, 'image'), {
    options: '-t ext3 -b 1024',
    megabytes: 8,
    from: join(temp, 'tree'),
  })
  const root = readFileSync(await mksquashfs(join(temp, 'tree'), join(temp, 'root')))
  const overlay = readFileSync(image)
  const bytes = makeSif({
    parts: [
      { type: SIF_TYPE.partition, data: root, partition: [1, 2, '02'] },
      { type: SIF_TYPE.partition, data: overlay, partition: [2, 4, '02'] },
    ],
  })
  offsets.root = bytes.indexOf(root)
  offsets.overlay = bytes.indexOf(overlay)
  sif = join(temp, 'x.sif')
  writeFileSync(sif, bytes)
  await run(ATOMFS_FUSE, ['install-links', '--apptainer', temp])
})
afterAll(() => removeTempDir(temp))

interface Caller {
  readonly env?: Readonly<Record<string, string>>
  readonly end?: 'umount' | 'SIGTERM'
}

/** Runs a program in the foreground with the file as descriptor 3, looks at the mount, and ends it. */
async function inForeground(
  { target, runDir }: Scene,
  file: string,
  [name, ...words]: readonly [string, ...string[]],
  { env = {}, end = 'umount' }: Caller = {},
): Promise<{ readonly exit: number; readonly stderr: string; readonly environment: string }> {
  const fd = openSync(file, 'r')
  const child = spawn(join(temp, name), [...words, '/proc/self/fd/3', target], {
    stdio: ['ignore', 'pipe', 'pipe', fd],
    env: { ATOMFS_TEST_RUN_DIR: runDir, ...env },
  })
  closeSync(fd)
  let stderr = ''
  child.stderr?.on('data', (text: Buffer) => {
    stderr += text.toString()
  })
  const ended = once(child, 'close')
  await until(() => isMounted(target) || child.exitCode !== null, 'the mount')
  if (child.exitCode !== null) return { exit: child.exitCode, stderr, environment: '' }
  expect(readFileSync(join(target, 'motd'), 'utf8')).toBe('hello\n')
  const environment = readFileSync(`/proc/${child.pid}/environ`, 'latin1')
  if (end === 'umount') await unmount(target)
  else child.kill('SIGTERM')
  const [exit] = (await ended) as [number]
  expect(isMounted(target)).toBe(false)
  return { exit, stderr, environment }
}

const SILENT = { exit: 0, stderr: '' }

describe.skipIf(!need.ok)(titled('the name fuse2fs', need), () => {
  test.each([
    ['1.1 to 1.2', ['fuse2fs', '-f', '-o', 'fakeroot,ro']],
    ['from 1.3', ['fuse2fs', '-f', '-o', 'allow_other,ro,fakeroot']],
    ['from 1.3, as root', ['fuse2fs', '-f', '-o', 'allow_other,ro']],
  ] as const)('a file system by itself is mounted for Apptainer %s', async (_, words) => {
    await inScene(async (scene) => {
      expect(await inForeground(scene, image, words, { end: 'SIGTERM' })).toMatchObject(SILENT)
      expect(entries(scene.runDir)).toEqual([])
    })
  })

  test('a partition is found by the variables of offsetpreload, whose library is left out', async () => {
    const library = ['/lib/x86_64-linux-gnu/libm.so.6', '/lib/aarch64-linux-gnu/libm.so.6'].find((path) =>
      existsSync(path),
    )
    const env = {
      OFFSETPRELOAD_FILE: '/proc/self/fd/3',
      OFFSETPRELOAD_OFFSET: String(offsets.overlay),
      ...(library === undefined ? {} : { LD_PRELOAD: library }),
    }
    await inScene(async (scene) => {
      const report = await inForeground(scene, sif, ['fuse2fs', '-f', '-o', 'allow_other,ro,fakeroot'], {
        env,
      })
      expect(report).toMatchObject(SILENT)
      expect(report.environment).not.toContain('LD_PRELOAD')
    })
  })

  test('the partitions of a SIF are mounted by their offsets under both names', async () => {
    await inScene(async (scene) => {
      const words = [
        'squashfuse_ll',
        '-f',
        '-o',
        `allow_other,ro,uid=0,gid=0,offset=${offsets.root}`,
      ] as const
      expect(await inForeground(scene, sif, words)).toMatchObject(SILENT)
      const { target, runDir } = scene
      // SingularityCE waits for the end of the program.
      const background = ['-o', `uid=0,gid=0,ro,dev,suid,offset=${offsets.overlay}`, sif, target]
      const options = { env: { ATOMFS_TEST_RUN_DIR: runDir } }
      expect(await run(join(temp, 'fuse2fs'), background, options)).toMatchObject({
        status: 0,
        stdout: '',
        stderr: '',
      })
      expect(readdirSync(target)).toContain('motd')
      await run('fusermount3', ['-u', target])
      await until(() => entries(runDir).length === 0, 'the end of the daemon')
      const squashfuse = ['-o', `ro,offset=${offsets.root}`, sif, target]
      expect(await run(join(temp, 'squashfuse'), squashfuse, options)).toMatchObject({
        status: 0,
        stdout: '',
        stderr: '',
      })
      expect(readdirSync(target)).toEqual(['motd'])
    })
  })

  test.each([
    [['-f', '-o', 'fakeroot'], /^Error: this fuse2fs only reads: give -o ro; [^\n]*\n$/],
    [['-f', '-o', ''], /^Error: this fuse2fs only reads/],
    [['-f', '-o', 'ro,offset=512'], /^Error: [^\n]*\n$/],
    [['-f', '-x', '-o', 'ro'], /^Error: unknown option '-x'\n$/],
  ])('%j is refused in one line', async (words, message) => {
    await inScene(async (scene) => {
      const { exit, stderr } = await inForeground(scene, image, ['fuse2fs', ...words])
      expect([exit, stderr]).toEqual([1, expect.stringMatching(message)])
      expect(entries(scene.runDir)).toEqual([])
    })
  })

  test('the name is a link on request only', async () => {
    await inScene(async ({ folder, atomfs }) => {
      expect((await atomfs('install-links', join(folder, 'mnt'))).stdout).not.toContain('fuse2fs')
      expect(await atomfs('install-links', join(folder, 'mnt'), 'fuse2fs')).toMatchObject({ status: 1 })
      expect((await atomfs('install-links', '--apptainer', join(folder, 'mnt'))).stdout).toContain(
        '/fuse2fs -> ',
      )
    })
  })
})
