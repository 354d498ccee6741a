import { chmodSync, copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  appendVerity,
  type Compressor,
  isMounted,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
  unmount,
} from '../library/index.ts'
import {
  entries,
  inScene,
  type LifeImage,
  makeLifeImage,
  type Scene,
  SILENT,
} from '../library/scenes/life.ts'

/** Files that are more than an image, or packed unusually, found and mounted by what is in them: no `offset=`. */

const need = needs('root', 'fuse', 'mksquashfs')
const NAMES = ['squashfuse', 'squashfuse_ll'] as const
type Name = (typeof NAMES)[number]
const LINE = '#!/usr/bin/env run-singularity\n'

let life: LifeImage
let program: Buffer
let big: Buffer
beforeAll(async () => {
  if (!need.ok) return
  life = await makeLifeImage()
  await run(ATOMFS_FUSE, ['install-links', life.folder, ...NAMES])
  big = readFileSync(join(life.folder, 'tree/big'))
  // A real program as linkers write it, of which an AppImage is made by appending the image.
  program = readFileSync('/bin/true')
})
afterAll(() => {
  if (need.ok) removeTempDir(life.folder)
})

/** Calls our program by a name. */
const called = (name: Name, { runDir }: Scene, ...args: string[]) =>
  run(join(life.folder, name), args, { env: { ATOMFS_TEST_RUN_DIR: runDir }, allowFailure: true })

async function shows(target: string): Promise<void> {
  expect(readFileSync(join(target, 'etc/motd'), 'utf8')).toBe('hello\n')
  expect(readFileSync(join(target, 'big')).equals(big)).toBe(true)
  await unmount(target)
}

describe.skipIf(!need.ok)(titled('an image behind something else', need), () => {
  test.each([
    ['the program of an AppImage', () => program],
    ['the launch line of Apptainer', () => Buffer.from(LINE)],
  ])('every command finds the image behind %s', async (_, before) => {
    await inScene(async (scene) => {
      const { folder, target, atomfs } = scene
      const file = join(folder, 'file')
      const image = join(folder, 'image')
      copyFileSync(life.image, image)
      const { rootHash } = await appendVerity(image)
      writeFileSync(file, Buffer.concat([before(), readFileSync(image)]))
      chmodSync(file, 0o755)
      const offset = before().length
      const report = JSON.parse((await atomfs('inspect', '--json', file)).stdout)
      expect(report.layers).toMatchObject([{ kind: 'squashfs', offset, size: readFileSync(image).length }])
      expect((await atomfs('inspect', file)).stdout).toContain(`image at byte: ${offset}\n`)
      expect(await atomfs('verify', '--root-hash', rootHash, file)).toMatchObject({
        status: 0,
        stdout: expect.stringContaining('/file: OK'),
      })
      expect(await atomfs('mount', '--root-hash', rootHash, '--verify=eager', file, target)).toMatchObject(
        SILENT,
      )
      await shows(target)
      for (const name of NAMES) {
        expect(await called(name, scene, file, target)).toMatchObject(SILENT)
        await shows(target)
      }
      expect(await atomfs('overlay', '-o', `lowerdir=${file}`, target)).toMatchObject(SILENT)
      await shows(target)
      // What the caller says counts.
      expect(await atomfs('mount', '-o', `offset=${offset}`, file, target)).toMatchObject(SILENT)
      await shows(target)
      expect(await called('squashfuse', scene, '-o', 'offset=0', file, target)).toMatchObject({ status: 255 })
    })
  })

  test('a program without an image, or with a wrong header, is refused in one line, and nothing is mounted', async () => {
    await inScene(async (scene) => {
      const { folder, target, runDir, atomfs } = scene
      const damaged = Buffer.concat([program, readFileSync(life.image)])
      // `e_shoff` of 64 bits.
      damaged.fill(0xff, 40, 46)
      const cases = [
        [
          program,
          /an ELF program without an image: the program ends at byte \d+ of \d+, expected a squashfs/,
        ],
        [damaged, /ELF program: section table ends at byte \d+, and the file at \d+/],
        [Buffer.from(`${LINE}nothing`), /the launch line ends at byte 31 of 38/],
        [Buffer.from(`${LINE}\0SIF_MAGIC\0`), /a SIF of 42 bytes, which is less than its header of 128/],
      ] as const
      for (const [content, message] of cases) {
        const file = join(folder, 'file')
        writeFileSync(file, content)
        for (const [status, result] of [
          [1, await atomfs('mount', file, target)],
          [1, await atomfs('inspect', file)],
          [255, await called('squashfuse_ll', scene, file, target)],
        ] as const) {
          expect(result).toMatchObject({ status, stdout: '', stderr: expect.stringMatching(message) })
          expect(result.stderr).toMatch(/^Error: [^\n]+\n$/)
        }
        expect([isMounted(target), readdirSync(target)]).toEqual([false, []])
        expect(entries(runDir)).toEqual([])
      }
    })
  })
})

describe.skipIf(!need.ok)(titled('a snap', need), () => {
  test.each<[Compressor, Name]>([
    ['xz', 'squashfuse'],
    ['lzo', 'squashfuse_ll'],
  ])('a snap packed with %s is mounted by its content, also by %s', async (compressor, name) => {
    await inScene(async (scene) => {
      const { folder, target, atomfs } = scene
      // As `snap pack` calls mksquashfs.
      const snap = await mksquashfs(join(life.folder, 'tree'), join(folder, 'hello_1.snap'), {
        compressor,
        extra: ['-no-fragments', '-no-xattrs', '-all-root'],
      })
      const report = JSON.parse((await atomfs('inspect', '--json', snap)).stdout)
      expect(report.layers).toMatchObject([{ compressor, hasXattrs: false }])
      // As the unit of snapd has it.
      const options = 'nodev,ro,x-gdu.hide,x-gvfs-hide,allow_other'
      expect(await atomfs('mount', '-o', options, snap, target)).toMatchObject(SILENT)
      await shows(target)
      expect(await called(name, scene, snap, target, '-o', options)).toMatchObject(SILENT)
      await shows(target)
    })
  })
})
