import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { appendVerityData } from '../../src/verity/index.ts'
import { mke2fs, withKernelExt } from '../library/images/ext.ts'
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
  writeOciLayout,
} from '../library/index.ts'
import { inScene, readLog, SILENT } from '../library/scenes/life.ts'

/** ext3 and ext4 file systems as images: what the commands do with them, and merges with other layers. */

const need = needs('root', 'fuse', 'loop', 'mke2fs', 'mksquashfs', 'kernel-overlayfs', 'kernel-squashfs')
const MEDIA_TYPE = 'application/vnd.sylabs.image.layer.v1.ext3'

let temp = ''
/** A root file system, and an overlay image as Apptainer makes it. */
let base = ''
let overlay = ''

beforeAll(async () => {
  temp = makeTempDir()
  if (!need.ok) return
  const tree = join(temp, 'tree')
  for (const folder of ['etc', 'hidden', 'opaque', 'marked']) {
    mkdirSync(join(tree, folder), { recursive: true })
    for (const name of ['kept', 'gone', 'replaced'])
      writeFileSync(join(tree, folder, name), `${folder}/${name}\n`)
  }
  base = await mksquashfs(tree, join(temp, 'base.sqfs'))
  overlay = await mke2fs(join(temp, 'overlay.img'), { options: '-t ext3 -b 4096', megabytes: 16 })
  // No name of fuse-overlayfs is in it: the kernel is the oracle.
  const script = `cd "$1" && mkdir upper work work/inside upper/etc upper/opaque upper/new
    echo changed >upper/etc/replaced; echo added >upper/new/file
    mknod upper/etc/gone c 0 0; mknod upper/hidden c 0 0
    setfattr -n trusted.overlay.opaque -v y upper/opaque; echo own >upper/opaque/own`
  await withKernelExt(temp, overlay, (target) => run('sh', ['-e', '-c', script, 'sh', target]), 'rw')
})
afterAll(() => removeTempDir(temp))

describe.skipIf(!need.ok)(titled('an ext3 overlay image', need), () => {
  test('of an overlay image that is merged, upper is the layer, as the kernel merges it', async () => {
    const kernel = await withKernelSquashfs(temp, base, (low) =>
      withKernelExt(temp, overlay, (image) =>
        withKernelOverlay(temp, [join(image, 'upper'), low], (target) =>
          walkTree(target, { skipGhosts: true }),
        ),
      ),
    )
    const layers = [{ file: base }, { file: overlay, mediaType: MEDIA_TYPE }]
    await writeOciLayout(join(temp, 'oci'), [{ tag: 'both', layers }])
    const show = ({ target }: { readonly target: string }) => walkInChild(target)
    const ours = await withAtomfs(temp, `${temp}/oci:both`, show, ['--allow-missing-verity'])
    expect(kernel.map(({ path }) => path)).toContain('opaque/own')
    expect(kernel.map(({ path }) => path)).not.toContain('etc/gone')
    expect(compareTrees(ours, kernel, { ignoreDirectoryNlink: true })).toEqual([])
    await inScene(async ({ target, atomfs }) => {
      expect(await atomfs('overlay', '-o', `lowerdir=${overlay}:${base}`, target)).toMatchObject(SILENT)
      const merged = await walkInChild(target)
      expect(compareTrees(merged, kernel, { ignoreDirectoryNlink: true })).toEqual([])
    })
  })

  test('names of fuse-overlayfs delete from the layers below an overlay image', async () => {
    const image = await mke2fs(join(temp, 'marks.img'), { options: '-t ext3 -b 1024', megabytes: 8 })
    const script = `cd "$1" && mkdir upper work upper/etc upper/marked
      >upper/etc/.wh.gone; >upper/.wh.hidden; >upper/marked/.wh..wh..opq; mknod upper/marked/.wh..opq c 0 0; >upper/marked/own`
    await withKernelExt(temp, image, (target) => run('sh', ['-e', '-c', script, 'sh', target]), 'rw')
    await inScene(async ({ target, atomfs }) => {
      expect(await atomfs('overlay', '-o', `lowerdir=${image}:${base}`, target)).toMatchObject(SILENT)
      expect(readdirSync(target)).toEqual(['etc', 'marked', 'opaque'])
      expect(readdirSync(join(target, 'etc'))).toEqual(['kept', 'replaced'])
      expect(readdirSync(join(target, 'marked'))).toEqual(['own'])
    })
  })

  test('an overlay image by itself is shown as it is, at an offset and behind a launch line too', async () => {
    const head = join(temp, 'head')
    writeFileSync(head, Buffer.concat([Buffer.alloc(5000), readFileSync(overlay)]))
    const line = join(temp, 'line')
    writeFileSync(
      line,
      Buffer.concat([Buffer.from('#!/usr/bin/env run-singularity\n'), readFileSync(overlay)]),
    )
    for (const [file, ...args] of [[overlay], [head, '-o', 'offset=5000'], [line]] as const) {
      await withAtomfs(
        temp,
        file,
        ({ target }) => {
          expect(readdirSync(target).sort()).toEqual(['lost+found', 'upper', 'work'])
          expect(readFileSync(join(target, 'upper/etc/replaced'), 'utf8')).toBe('changed\n')
          expect(execFileSync('stat', ['-c', '%F %t:%T', join(target, 'upper/hidden')]).toString()).toBe(
            'character special file 0:0\n',
          )
        },
        args,
      )
    }
  })

  test('changes above an image go to the upper directory, and the image stays as it is', async () => {
    const before = readFileSync(overlay)
    const upper = join(temp, 'changes')
    await withAtomfs(
      temp,
      overlay,
      async ({ target }) => {
        writeFileSync(join(target, 'new'), 'new')
        appendFileSync(join(target, 'upper/new/file'), 'more\n')
        await run('rm', ['-r', join(target, 'work')])
        expect(readdirSync(target).sort()).toEqual(['lost+found', 'new', 'upper'])
        expect(readFileSync(join(target, 'upper/new/file'), 'utf8')).toBe('added\nmore\n')
      },
      ['--persist', upper],
    )
    expect(readFileSync(overlay).equals(before)).toBe(true)
  })
})

describe.skipIf(!need.ok)(titled('commands on an ext4 file system', need), () => {
  test('inspect tells features and state, and a file system that was not unmounted has a line in the log', async () => {
    const image = await mke2fs(join(temp, 'state.img'), { options: '-t ext4 -b 4096 -L name', megabytes: 16 })
    const copy = join(temp, 'state.copy')
    const use = (target: string) =>
      run('sh', ['-c', 'echo x >"$1/x"; sync "$1/x"; cp "$2" "$3"', 'sh', target, image, copy])
    await withKernelExt(temp, image, use, 'rw')
    await inScene(async (scene) => {
      const { target, atomfs, runDir } = scene
      const clean = JSON.parse((await atomfs('inspect', '--json', image)).stdout).layers[0]
      expect(clean).toMatchObject({
        kind: 'ext4',
        state: 'clean',
        volumeName: 'name',
        blockSize: 4096,
        hasXattrs: true,
      })
      expect(clean.features).toEqual(
        expect.arrayContaining(['has_journal', 'extent', '64bit', 'metadata_csum']),
      )
      expect(clean.remark).toBe(undefined)
      const remark =
        /the file system was not unmounted: its journal is replayed in memory, \d+ transactions, \d+ blocks/
      expect((await atomfs('inspect', copy)).stdout).toMatch(remark)
      expect(await atomfs('mount', copy, target)).toMatchObject(SILENT)
      expect(readFileSync(join(target, 'x'), 'utf8')).toBe('x\n')
      expect(readLog(runDir)).toMatch(remark)
    })
  })

  test('features that cannot be read are named, and so is a file that was cut off, with both numbers', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      for (const [options, name] of [
        ['-O encrypt', 'encrypt'],
        ['-O casefold', 'casefold'],
      ] as const) {
        const image = await mke2fs(join(folder, 'image'), { options: `-t ext4 ${options}`, megabytes: 8 })
        expect(await atomfs('mount', image, target)).toMatchObject({
          status: 1,
          stderr: `Error: ${image}: ext4 features that cannot be read: ${name}\n`,
        })
      }
      const cut = join(folder, 'cut')
      writeFileSync(cut, readFileSync(overlay).subarray(0, 1_000_000))
      const { stderr } = await atomfs('mount', cut, target)
      expect(stderr).toContain('the file system ends at 16777216, and its file at 1000000: truncated')
      expect(stderr.split('\n').length).toBe(2)
    })
  })

  test('a file system with a hash tree is verified by block: a changed byte is EIO, and verify names the file', async () => {
    const tree = join(temp, 'verified')
    mkdirSync(tree)
    const content = Buffer.alloc(100_000, 'content ')
    writeFileSync(join(tree, 'large'), content)
    writeFileSync(join(tree, 'small'), 'small\n')
    const image = await mke2fs(join(temp, 'verified.img'), {
      options: '-t ext4 -b 4096',
      megabytes: 16,
      from: tree,
    })
    const { rootHash } = appendVerityData(image)
    const mount = ['--root-hash', rootHash]
    await withAtomfs(
      temp,
      image,
      ({ target }) => expect(readFileSync(join(target, 'large')).equals(content)).toBe(true),
      mount,
    )
    const at = readFileSync(image).indexOf(content.subarray(0, 4096)) + 50_000
    const fd = openSync(image, 'r+')
    writeSync(fd, 'X', at)
    closeSync(fd)
    await withAtomfs(
      temp,
      image,
      ({ target }) => {
        expect(() => readFileSync(join(target, 'large'))).toThrow(/EIO/)
        expect(readFileSync(join(target, 'small'), 'utf8')).toBe('small\n')
      },
      mount,
    )
    await inScene(async ({ atomfs }) => {
      const verdict = await atomfs('verify', '--root-hash', rootHash, image)
      expect([verdict.status, verdict.stdout + verdict.stderr]).toEqual([
        1,
        expect.stringContaining('/large'),
      ])
    })
  })

  test('a wrong checksum of metadata is EIO for its file alone, and the log names structure and byte', async () => {
    const tree = join(temp, 'summed')
    mkdirSync(join(tree, 'folder'), { recursive: true })
    writeFileSync(join(tree, 'folder/inside'), '')
    writeFileSync(join(tree, 'fine'), 'fine\n')
    const image = await mke2fs(join(temp, 'summed.img'), {
      options: '-t ext4 -b 4096',
      megabytes: 16,
      from: tree,
    })
    const bytes = readFileSync(image)
    const at = bytes.indexOf('inside')
    bytes[at] = 'I'.charCodeAt(0)
    writeFileSync(image, bytes)
    await inScene(async ({ target, atomfs, runDir }) => {
      expect(await atomfs('mount', image, target)).toMatchObject(SILENT)
      expect(readFileSync(join(target, 'fine'), 'utf8')).toBe('fine\n')
      expect(() => readdirSync(join(target, 'folder'))).toThrow(/EIO/)
      // The thread that serves hands its messages to another one, which writes them.
      const place = new RegExp(
        `block ${Math.floor(at / 4096)} at byte \\d+: directory \\d+: block 0: checksum`,
      )
      await vi.waitFor(() => expect(readLog(runDir)).toMatch(place), { timeout: 10_000 })
    })
  })
})
