import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encryptByGocryptfs } from '../library/images/gocryptfs.ts'
import { encryptByCryptsetup } from '../library/images/luks.ts'
import { makeSif, SIF_TYPE } from '../library/images/sif.ts'
import {
  ATOMFS_FUSE,
  daemonPid,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { type ContainerImage, makeContainerImage, runAs } from '../library/scenes/containers.ts'
import { entries, inScene, SILENT } from '../library/scenes/life.ts'

/** Encrypted images where others are used: in overlays, containers, and as the base of new images. */

const need = needs('root', 'fuse', 'mksquashfs', 'cryptsetup')
const needGocryptfs = needs('root', 'fuse', 'mksquashfs', 'cryptsetup', 'gocryptfs')
const needContainers = needs(
  'root',
  'fuse',
  'mksquashfs',
  'cryptsetup',
  'busybox',
  'crun',
  'setpriv',
  'unshare',
)
const PASSPHRASE = 'correct horse battery staple'
const PBKDF = '--pbkdf pbkdf2 --pbkdf-force-iterations 1000'.split(' ')

let temp = ''
let keyFile = ''
let luks = ''
let sif = ''
let gocryptfs = ''
let box: ContainerImage
beforeAll(async () => {
  temp = makeTempDir()
  if (!need.ok) return
  keyFile = join(temp, 'key')
  writeFileSync(keyFile, `${PASSPHRASE}\n`)
  const tree = join(temp, 'tree')
  mkdirSync(join(tree, 'etc'), { recursive: true })
  writeFileSync(join(tree, 'etc/motd'), 'hello\n')
  writeFileSync(join(tree, 'below'), 'of the image\n')
  const plain = await mksquashfs(tree, join(temp, 'plain.sqfs'))
  luks = await encryptByCryptsetup(plain, join(temp, 'image.luks'), PASSPHRASE, PBKDF)
  sif = sifOf('image.sif', luks, 5)
  if (needGocryptfs.ok)
    gocryptfs = sifOf('gocryptfs.sif', await encryptByGocryptfs(plain, join(temp, 'g'), PASSPHRASE), 6)
  if (!needContainers.ok) return
  box = await makeContainerImage(temp)
  const layer = await encryptByCryptsetup(
    join(temp, 'layer.squashfs'),
    join(temp, 'box.luks'),
    PASSPHRASE,
    PBKDF,
  )
  box = { ...box, source: sifOf('box.sif', layer, 5) }
}, 60_000)
afterAll(() => removeTempDir(temp))

function sifOf(name: string, image: string, fileSystem: number): string {
  const data = readFileSync(image)
  const partition = { type: SIF_TYPE.partition, data, partition: [fileSystem, 2, '02'] } as const
  writeFileSync(join(temp, name), makeSif({ parts: [partition], architecture: '02' }))
  return join(temp, name)
}

/** None of these files of a process, or of a folder, has the passphrase. */
function expectNoSecret(paths: readonly string[]): void {
  for (const path of paths) expect(readFileSync(path, 'latin1'), path).not.toContain('battery')
}

describe.skipIf(!need.ok)(titled('an encrypted image below an overlay', need), () => {
  test('is merged like every other, with its key as an option, after -o, or in the environment', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      const [top, upper, work, links] = ['top', 'upper', 'work', 'links'].map((name) => join(folder, name))
      for (const path of [top, upper, work, links]) mkdirSync(path!)
      writeFileSync(join(top!, 'above'), 'x')
      await run(ATOMFS_FUSE, ['install-links', links!])
      const env = { ATOMFS_TEST_RUN_DIR: runDir, APPTAINER_ENCRYPTION_PASSPHRASE: PASSPHRASE }
      const changes = `upperdir=${upper},workdir=${work}`
      for (const [i, start] of [
        () => atomfs('overlay', '--passphrase-file', keyFile, '-o', `lowerdir=${top}:${sif}`, target),
        () =>
          atomfs(
            'overlay',
            '-o',
            `passphrase_file=${keyFile},kdf_time=9,lowerdir=${top}:${luks},${changes}`,
            target,
          ),
        () => run(join(links!, 'fuse-overlayfs'), ['-o', `lowerdir=${top}:${sif}\\:1`, target], { env }),
      ].entries()) {
        expect(await start()).toMatchObject(SILENT)
        expect(readdirSync(target)).toEqual(['above', 'below', 'etc'])
        expect(readFileSync(join(target, 'etc/motd'), 'utf8')).toBe('hello\n')
        if (i === 1) writeFileSync(join(target, 'below'), 'changed\n')
        const pid = daemonPid(runDir)
        expectNoSecret([`/proc/${pid}/cmdline`, `/proc/${pid}/environ`])
        await atomfs('umount', target)
        await until(() => isGone(pid), 'the end of the daemon')
      }
      expect(readFileSync(join(upper!, 'below'), 'utf8')).toBe('changed\n')
    })
  })

  test('is refused in one line without a key, with a wrong one, or where the key may not be derived', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      const wrong = join(folder, 'wrong')
      writeFileSync(wrong, 'wrong')
      const lower = `lowerdir=${temp}/tree:${sif}`
      for (const [words, message] of [
        [lower, /image.sif:1: is encrypted \(LUKS2\), and its key is needed: give --passphrase-file/],
        [`${lower},passphrase_file=${wrong}`, /the passphrase or key is wrong/],
        [`${lower},passphrase_file=`, /option 'passphrase_file' needs a value/],
        [`${lower},kdf_memory=1,passphrase_file=${keyFile}`, /--kdf-memory=1: expected a whole number/],
      ] as const) {
        const { status, stdout, stderr } = await atomfs('overlay', '-o', words, target)
        expect([status, stdout]).toEqual([1, ''])
        expect(stderr).toMatch(message)
        expect(stderr).toMatch(/^Error: [^\n]+\n$/)
      }
      expect(readdirSync(target)).toEqual([])
      expect(entries(runDir)).toEqual([])
    })
  })

  test.skipIf(!needGocryptfs.ok)(
    titled('may be one of gocryptfs, beside one of LUKS2', needGocryptfs),
    async () => {
      await inScene(async ({ target, atomfs }) => {
        const words = ['overlay', '--passphrase-file', keyFile, '-o', `lowerdir=${gocryptfs}:${sif}`, target]
        expect(await atomfs(...words)).toMatchObject(SILENT)
        expect(readFileSync(join(target, 'below'), 'utf8')).toBe('of the image\n')
      })
    },
  )
})

describe.skipIf(!need.ok)(titled('changes above an encrypted image', need), () => {
  test('become a layer of an image that is not encrypted, for those who have the key', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      const key = ['--passphrase-file', keyFile]
      const layout = join(folder, 'layout')
      expect(await atomfs('mount', ...key, '--upper', join(folder, 'upper'), sif, target)).toMatchObject(
        SILENT,
      )
      writeFileSync(join(target, 'new'), 'x')
      const refused = await atomfs('commit', '-q', target, `${layout}:x`)
      expect(refused).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/^Error: [^\n]* and its key is needed: [^\n]+\n$/),
      })
      expect(existsSync(layout)).toBe(false)
      expect(await atomfs('commit', '-q', ...key, target, `${layout}:layers`)).toMatchObject(SILENT)
      expect(await atomfs('commit', '-q', '--squash', ...key, target, `${layout}:one`)).toMatchObject(SILENT)
      for (const tag of ['layers', 'one']) {
        const image = `${layout}:${tag}`
        expect((await atomfs('cat', '--allow-missing-verity', image, 'below', 'new')).stdout).toBe(
          'of the image\nx',
        )
      }
    })
  })
})

describe.skipIf(!needContainers.ok)(titled('a container of an encrypted image', needContainers), () => {
  const program = ['--', 'sh', '-c', 'cat /data/there; env; cat /proc/1/environ /proc/1/cmdline']

  test('runs with the key from a file or the environment, and does not get it', async () => {
    for (const [words, env] of [
      [['--passphrase-file', keyFile], {}],
      [[], { APPTAINER_ENCRYPTION_PASSPHRASE: PASSPHRASE }],
    ] as const) {
      const { status, stdout, stderr } = await runAs(box, 'root', [...words, ...program], { env })
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
      expect(stdout).toMatch(/^of the image\n/)
      expect(stdout).not.toContain('battery')
    }
    const refused = await runAs(box, 'root', program, { allowFailure: true })
    expect([refused.status, refused.stdout]).toEqual([1, ''])
    expect(refused.stderr).toMatch(/^Error: [^\n]* is encrypted \(LUKS2\), and its key is needed: [^\n]+\n$/)
    expect(readdirSync(join(temp, 'root')).filter((name) => name.startsWith('atomfs-run'))).toEqual([])
  })

  test('can be made by other runtimes of its bundle, in which the key is not', async () => {
    await inScene(async ({ folder, runDir, atomfs }) => {
      const directory = join(folder, 'bundle')
      const create = ['bundle', 'create', box.source, directory, 'sh']
      expect(await atomfs(...create)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/^Error: [^\n]* and its key is needed: [^\n]+\n$/),
      })
      expect(existsSync(directory)).toBe(false)
      expect(await atomfs(...create, '--passphrase-file', keyFile)).toMatchObject(SILENT)
      try {
        expect(readFileSync(join(directory, 'rootfs/data/there'), 'utf8')).toBe('of the image\n')
        const pid = daemonPid(runDir)
        expectNoSecret([join(directory, 'config.json'), `/proc/${pid}/cmdline`, `/proc/${pid}/environ`])
      } finally {
        expect(await atomfs('bundle', 'rm', directory)).toMatchObject(SILENT)
      }
      expect(existsSync(directory)).toBe(false)
    })
  })
})
