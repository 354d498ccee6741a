import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mke2fs, withKernelExt } from '../library/images/ext.ts'
import { makeOciSif, makeSif, SIF_TYPE, type SifPart } from '../library/images/sif.ts'
import {
  compareTrees,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
  walkInChild,
  walkTree,
  withAtomfs,
  withKernelOverlay,
  withKernelSquashfs,
} from '../library/index.ts'
import { entries, inScene, readLog, SILENT } from '../library/scenes/life.ts'

/** SIF files: listed as siftool lists them, mounted as their partitions are by themselves. */

const need = needs('root', 'fuse', 'loop', 'mke2fs', 'mksquashfs', 'kernel-overlayfs', 'kernel-squashfs')
const LAYER = 'application/vnd.sylabs.image.layer.v1'

let temp = ''
let base = ''
let other = ''
let overlay = ''

beforeAll(async () => {
  temp = makeTempDir()
  if (!need.ok) return
  for (const [tree, text] of [
    ['tree', 'first'],
    ['second', 'second'],
  ] as const) {
    mkdirSync(join(temp, tree, 'etc'), { recursive: true })
    for (const name of ['kept', 'gone', tree])
      writeFileSync(join(temp, tree, 'etc', name), `${text} ${name}\n`)
  }
  base = await mksquashfs(join(temp, 'tree'), join(temp, 'base.sqfs'))
  other = await mksquashfs(join(temp, 'second'), join(temp, 'other.sqfs'))
  overlay = await mke2fs(join(temp, 'overlay.img'), { options: '-t ext3 -b 1024', megabytes: 8 })
  const script = `cd "$1" && mkdir upper work upper/etc && echo changed >upper/etc/kept && mknod upper/etc/gone c 0 0`
  await withKernelExt(temp, overlay, (target) => run('sh', ['-e', '-c', script, 'sh', target]), 'rw')
})
afterAll(() => removeTempDir(temp))

const part = (file: string, fileSystem: number, use: number, more: Partial<SifPart> = {}): SifPart => ({
  type: SIF_TYPE.partition,
  data: readFileSync(file),
  partition: [fileSystem, use, '02'],
  ...more,
})

/** Writes a SIF file of a test. @returns its path */
function sif(name: string, parts: readonly SifPart[], architecture = '02'): string {
  const file = join(temp, name)
  writeFileSync(file, makeSif({ parts, architecture, launch: '#!/usr/bin/env run-singularity\n' }))
  return file
}

const walk = (source: string, options: readonly string[] = []) =>
  withAtomfs(temp, source, ({ target }) => walkInChild(target), options)

describe.skipIf(!need.ok)(titled('a SIF file', need), () => {
  test('its primary partition is mounted as the kernel mounts it, and its overlay partition on top', async () => {
    const file = sif('both.sif', [
      { type: SIF_TYPE.definition, data: Buffer.from('bootstrap: scratch\n') },
      part(base, 1, 2),
      part(overlay, 2, 4),
      part(other, 1, 3, { name: 'data' }),
    ])
    const [plain, merged] = await withKernelSquashfs(temp, base, async (low) => [
      await walkTree(low),
      await withKernelExt(temp, overlay, (image) =>
        withKernelOverlay(temp, [join(image, 'upper'), low], (target) =>
          walkTree(target, { skipGhosts: true }),
        ),
      ),
    ])
    expect(compareTrees(await walk(file), merged!, { ignoreDirectoryNlink: true })).toEqual([])
    expect(compareTrees(await walk(file, ['-o', 'overlays=none']), plain!)).toEqual([])
    await inScene(async ({ folder, atomfs }) => {
      expect(await atomfs('cat', file, 'etc/kept')).toMatchObject({ status: 0, stdout: 'changed\n' })
      expect(await atomfs('cat', `${file}:2`, 'etc/kept')).toMatchObject({
        status: 0,
        stdout: 'first kept\n',
      })
      expect(await atomfs('cat', '-o', 'overlays=none', file, 'etc/gone')).toMatchObject({
        stdout: 'first gone\n',
      })
      expect(await atomfs('ls', file, 'etc')).toMatchObject({ stdout: 'kept\ntree\n' })
      expect(await atomfs('diff', `${file}:2`, base)).toMatchObject(SILENT)
      expect(await atomfs('ls', '-o', 'partition=4', file, 'etc')).toMatchObject({
        stdout: 'gone\nkept\nsecond\n',
      })
      expect(await atomfs('extract', '-q', file, join(folder, 'out'))).toMatchObject(SILENT)
      expect(readdirSync(join(folder, 'out/etc'))).toEqual(['kept', 'tree'])
      for (const [source, names] of [
        [file, ['kept', 'tree']],
        [`${file}:2`, ['gone', 'kept', 'tree']],
      ] as const) {
        const made = join(folder, `oci-${names.length}`)
        expect((await atomfs('convert', '-q', source, `${made}:x`)).stderr).toBe('')
        const { stdout } = await atomfs('ls', '--allow-missing-verity', `${made}:x`, 'etc')
        expect(stdout).toBe(names.map((name) => `${name}\n`).join(''))
      }
      expect(await atomfs('mount', '-o', 'offset=4096,partition=2', file, folder)).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('offset= and a partition both say what is meant'),
      })
    })
  })

  test('files are layers of the command overlay: a SIF with its overlays, one partition of it, and an ext3 image', async () => {
    const file = sif('lower.sif', [
      part(base, 1, 2),
      part(overlay, 2, 4),
      part(other, 1, 3),
      part(other, 1, 4, { data: Buffer.from('nothing') }),
    ])
    await inScene(async ({ target, runDir, atomfs }) => {
      for (const [lowers, names, kept] of [
        [file, ['kept', 'tree'], 'changed\n'],
        [`${file}\\:1`, ['gone', 'kept', 'tree'], 'first kept\n'],
        [`${overlay}:${file}\\:3:${file}\\:1`, ['kept', 'second', 'tree'], 'changed\n'],
        [`${overlay}:${base}`, ['kept', 'tree'], 'changed\n'],
      ] as const) {
        expect(await atomfs('overlay', '-o', `lowerdir=${lowers}`, target)).toMatchObject(SILENT)
        expect([lowers, readdirSync(join(target, 'etc'))]).toEqual([lowers, names])
        expect([lowers, readFileSync(join(target, 'etc/kept'), 'utf8')]).toEqual([lowers, kept])
        const log = readLog(runDir)
        if (lowers === file) expect(log).toContain('object 4 (Squashfs partition) is left out')
        expect((await atomfs('umount', target)).stderr).toBe('')
      }
    })
  })

  test('changes go to an upper directory, and the file stays as it is', async () => {
    const file = sif('writable.sif', [part(base, 1, 2), part(overlay, 2, 4)])
    const before = readFileSync(file)
    await inScene(async ({ folder, target, atomfs }) => {
      const upper = join(folder, 'upper')
      mkdirSync(upper)
      expect(await atomfs('mount', '--upper', upper, file, target)).toMatchObject(SILENT)
      writeFileSync(join(target, 'etc/kept'), 'mine\n')
      expect((await atomfs('umount', target)).stderr).toBe('')
      expect(readFileSync(join(upper, 'etc/kept'), 'utf8')).toBe('mine\n')
    })
    expect(readFileSync(file).equals(before)).toBe(true)
  })

  test('a file for another machine is mounted, and the log says so; parts that cannot be used are named', async () => {
    const machine = process.arch === 's390x' ? '06' : '11'
    const file = sif('foreign.sif', [
      part(base, 1, 2, { partition: [1, 2, machine] }),
      part(other, 1, 4, { data: Buffer.from('nothing') }),
      part(other, 3, 4),
    ])
    await inScene(async ({ target, runDir, atomfs }) => {
      expect(await atomfs('mount', file, target)).toMatchObject({ status: 0 })
      const log = readLog(runDir)
      expect(log).toContain(`the image is for ${machine === '11' ? 's390x' : 'ppc64le'}, and this machine is`)
      expect(log).toContain('object 2 (Squashfs partition) is left out: it holds no image that can be read')
      expect(log).toContain('object 3 (Archive partition) is left out: it is an archive')
      expect(readdirSync(target)).toEqual(['etc'])
      expect((await atomfs('inspect', file)).stdout).toContain('this machine is')
    })
  })

  test('damaged files end in one line that says what is wrong, and nothing is left', async () => {
    const whole = makeSif({ parts: [part(base, 1, 2)] })
    const old = Buffer.from(whole)
    old.write('00', 42)
    const none = makeSif({ parts: [{ type: SIF_TYPE.json, data: Buffer.from('{}') }] })
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      const file = join(folder, 'x.sif')
      for (const [bytes, message] of [
        [
          whole.subarray(0, -100),
          `object 1 (Squashfs partition) ends at byte ${whole.length}, and the file at ${whole.length - 100}: the file is cut off, copy it again`,
        ],
        [
          whole.subarray(0, 60),
          'a SIF of 60 bytes, which is less than its header of 128: the file is cut off',
        ],
        [
          whole.subarray(0, 9999),
          `the table of objects ends at byte ${4096 + 48 * 585}, and the file at 9999: the file is cut off or damaged`,
        ],
        [old, 'SIF version "00", expected "01" (releases of 2018 made such files: build the image anew)'],
        [none, 'a SIF without a partition: nothing to mount'],
      ] as const) {
        writeFileSync(file, bytes)
        const { status, stderr } = await atomfs('mount', file, target)
        expect(status).toBe(1)
        expect(stderr.trimEnd().split('\n')).toEqual([expect.stringContaining(message)])
        expect(entries(runDir)).toEqual([])
      }
      writeFileSync(file, whole.subarray(0, -100))
      const cut = await atomfs('inspect', file)
      expect(cut).toMatchObject({ status: 0, stderr: '' })
      expect(cut.stdout).toContain('cannot be mounted: ')
      expect(cut.stdout).toMatch(/^1 +FS +1 +- +\d+ +\d+ +- +Squashfs, \*System, amd64$/m)
    })
  })
})

describe.skipIf(!need.ok)(titled('an OCI image in a SIF file', need), () => {
  const layer = (file: string, form: string) => ({ data: readFileSync(file), mediaType: `${LAYER}.${form}` })

  test('its layers are merged in their order, the writable one on top', async () => {
    const file = join(temp, 'oci.sif')
    writeFileSync(
      file,
      makeOciSif([layer(base, 'squashfs'), layer(other, 'squashfs'), layer(overlay, 'ext3')]),
    )
    await inScene(async ({ atomfs }) => {
      expect(await atomfs('ls', file, 'etc')).toMatchObject({
        status: 0,
        stderr: '',
        stdout: 'kept\nsecond\ntree\n',
      })
      expect(await atomfs('cat', file, 'etc/kept')).toMatchObject({ stdout: 'changed\n' })
      const report = JSON.parse((await atomfs('inspect', '--json', file)).stdout)
      expect(report.layers).toHaveLength(3)
      expect(report.listing.objects.map(({ type }: { type: string }) => type)).toEqual([
        ...['OCI.Blob', 'OCI.Blob', 'OCI.Blob', 'OCI.Blob', 'OCI.Blob', 'OCI.RootIndex'],
      ])
      expect(await atomfs('ls', '-o', 'verify=eager', file)).toMatchObject({ status: 0, stderr: '' })
    })
  })

  test('an ext3 layer below another, a layer that is no image, and a damaged document are refused in one line', async () => {
    const file = join(temp, 'bad.sif')
    const other = { data: Buffer.alloc(1024), mediaType: 'text/plain' }
    const whole = makeOciSif([layer(base, 'squashfs')])
    const damaged = Buffer.from(whole)
    damaged[whole.indexOf('"schemaVersion":2')]! ^= 1
    const layerDamaged = Buffer.from(whole)
    layerDamaged[4096 + 10 * 585 + 2000]! ^= 1
    for (const [bytes, message, words] of [
      [makeOciSif([layer(overlay, 'ext3'), layer(base, 'squashfs')]), 'below another layer', []],
      [makeOciSif([other]), 'media type "text/plain"; can mount only', []],
      [damaged, 'content has digest', []],
      [layerDamaged, 'its bytes have digest', ['-o', 'verify=eager']],
    ] as const) {
      writeFileSync(file, bytes)
      await inScene(async ({ atomfs }) => {
        const { status, stderr } = await atomfs('ls', ...words, file)
        expect(status).toBe(1)
        expect(stderr.trimEnd().split('\n')).toEqual([expect.stringContaining(message)])
      })
    }
  })
})
