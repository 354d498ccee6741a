import {
  chmodSync,
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mke2fs } from '../library/images/ext.ts'
import { makeOciSif, makeSif, SIF_TYPE, type SifPart } from '../library/images/sif.ts'
import {
  ATOMFS_FUSE,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
  unmount,
} from '../library/index.ts'
import { inScene, SILENT } from '../library/scenes/life.ts'
import { ID_RANGE, inNamespace } from '../library/scenes/namespaces.ts'

/** What users of Apptainer met with other programs, as far as no other test has it. */

const need = needs('root', 'fuse', 'mksquashfs', 'mke2fs', 'perl')

let temp = ''
let base = ''
let overlay = ''
let links = ''
beforeAll(async () => {
  temp = makeTempDir()
  chmodSync(temp, 0o755)
  if (!need.ok) return
  for (const [name, content] of [
    ['tree/etc', 'first'],
    ['overlay/upper/etc', 'changed'],
    ['overlay/work', 'x'],
  ] as const) {
    mkdirSync(join(temp, name), { recursive: true })
    writeFileSync(join(temp, name, 'motd'), `${content}\n`)
  }
  const owners = ['-force-uid', '7', '-force-gid', '8']
  base = await mksquashfs(join(temp, 'tree'), join(temp, 'base.sqfs'), { extra: owners })
  const options = '-t ext3 -b 1024'
  overlay = await mke2fs(join(temp, 'overlay.img'), { options, megabytes: 8, from: join(temp, 'overlay') })
  links = join(temp, 'links')
  mkdirSync(links)
  for (const name of ['squashfuse_ll', 'squashfuse', 'fuse2fs']) symlinkSync(ATOMFS_FUSE, join(links, name))
})
afterAll(() => removeTempDir(temp))

const part = (file: string, fileSystem: number, use: number, more: Partial<SifPart> = {}): SifPart => ({
  type: SIF_TYPE.partition,
  data: readFileSync(file),
  partition: [fileSystem, use, '02'],
  ...more,
})

describe.skipIf(!need.ok)(titled('cases of users of Apptainer', need), () => {
  test('partitions beyond 4 GiB are found, also by the names of others, with their offsets', async () => {
    const file = join(temp, 'far.sif')
    const [root, ext3] = [base, overlay].map((name) => readFileSync(name)) as [Buffer, Buffer]
    const far = 5 * 2 ** 30 + 4096
    const further = far + 2 ** 30
    const at = (offset: number, { length }: Buffer) => ({ data: Buffer.alloc(0), offset, size: length })
    writeFileSync(
      file,
      makeSif({ parts: [part(base, 1, 2, at(far, root)), part(overlay, 2, 4, at(further, ext3))] }),
    )
    for (const [image, offset] of [
      [base, far],
      [overlay, further],
    ] as const) {
      const fd = openSync(file, 'r+')
      ftruncateSync(fd, offset)
      closeSync(fd)
      await run('dd', [`if=${image}`, `of=${file}`, 'oflag=append', 'conv=notrunc', 'status=none'])
    }
    await inScene(async ({ target, runDir, atomfs }) => {
      expect(await atomfs('mount', file, target)).toMatchObject(SILENT)
      expect(readFileSync(join(target, 'etc/motd'), 'utf8')).toBe('changed\n')
      await unmount(target)
      for (const [name, offset, path, text] of [
        ['squashfuse_ll', far, 'etc/motd', 'first\n'],
        ['fuse2fs', further, 'upper/etc/motd', 'changed\n'],
      ] as const) {
        const words = ['-o', `ro,offset=${offset}`, file, target]
        await run(join(links, name), words, { env: { ATOMFS_TEST_RUN_DIR: runDir } })
        expect([name, readFileSync(join(target, path), 'utf8')]).toEqual([name, text])
        await unmount(target)
      }
    })
  })

  test('with --fakeroot owners are those of the image, by the numbers of its user namespace', async () => {
    await inNamespace(ID_RANGE, async ({ target, inside }) => {
      const script = `
        for name in squashfuse_ll squashfuse; do
          "$1/$name" -o uid=0,gid=0,ro "$2" "$3"
          stat -c "$name %u:%g" "$3/etc/motd"
          umount "$3"
        done`
      const { stdout, stderr } = await inside(script, links, base, target)
      expect([stdout, stderr]).toEqual(['squashfuse_ll 7:8\nsquashfuse 0:0\n', ''])
    })
  })

  test('an image of more objects than the 48 of most files is read, and shows all layers', async () => {
    const layers: { data: Buffer; mediaType: string }[] = []
    const mediaType = 'application/vnd.sylabs.image.layer.v1.squashfs'
    for (let i = 0; i < 60; i++) {
      const tree = join(temp, 'layer')
      await run('rm', ['-rf', tree])
      mkdirSync(tree)
      writeFileSync(join(tree, `from-${i}`), `${i}`)
      writeFileSync(join(tree, 'last'), `${i}`)
      const image = await mksquashfs(tree, join(temp, 'layer.sqfs'))
      layers.push({ data: readFileSync(image), mediaType })
    }
    const file = join(temp, 'many.oci.sif')
    writeFileSync(file, makeOciSif(layers))
    await inScene(async ({ target, atomfs }) => {
      const { listing } = JSON.parse((await atomfs('inspect', '--json', file)).stdout)
      expect(listing.objects).toHaveLength(63)
      expect(await atomfs('mount', file, target)).toMatchObject(SILENT)
      const { stdout } = await run('sh', ['-c', 'ls "$0" | wc -l; cat "$0/last"', target])
      expect(stdout).toBe('61\n59')
    })
  })

  test('a file that somebody else owns and nobody may write is mounted by a plain user, and not opened for writing', async () => {
    const file = join(temp, 'not-mine.sif')
    writeFileSync(file, makeSif({ parts: [part(base, 1, 2), part(overlay, 2, 4)] }), { mode: 0o444 })
    const place = join(temp, 'user')
    mkdirSync(place)
    await run('mknod', ['-m', '666', join(place, 'fuse'), 'c', '10', '229'])
    for (const name of ['mnt', 'run']) mkdirSync(join(place, name))
    await run('chown', ['-R', '1:1', place])
    const script = `
      mount --bind "$0/fuse" /dev/fuse
      user() { setpriv --reuid=1 --regid=1 --clear-groups "$@"; }
      user "$@" "$0/mnt"
      user cat "$0/mnt/etc/motd"
      for one in /proc/[0-9]*; do
        for fd in $one/fd/*; do
          [ "$(readlink $fd)" != "${file}" ] || grep ^flags: $one/fdinfo/\${fd##*/}
        done
      done
      user ${ATOMFS_FUSE} umount "$0/mnt"`
    const words = ['-m', 'sh', '-ec', script, place, ATOMFS_FUSE, 'mount', file]
    const { stdout } = await run('unshare', words, {
      env: { ATOMFS_TEST_RUN_DIR: join(place, 'run'), HOME: place },
    })
    const [text, ...flags] = stdout.trim().split('\n')
    expect(text).toBe('changed')
    expect(flags.length).toBeGreaterThan(0)
    // O_RDONLY is the last octal digit 0.
    expect(flags.filter((line) => !/0$/.test(line))).toEqual([])
  })
})
