import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { atomfsFuse, mksquashfs, needs, run, titled, unmount, withTempDir } from '../library/index.ts'

/** What a file system knows of its files beside the attributes of stat(2): time of birth, and the flags of chattr(1). */

const need = needs('root', 'fuse', 'kernel-overlayfs', 'mksquashfs', 'chattr', 'lsattr', 'stat')

type Three = readonly [string, string, string]

interface Scene {
  readonly lower: string
  readonly upper: string
  readonly target: string
}

/** A mount over a directory with `old` and `dir`, and an image with `img` and `img2`. */
async function withOverlay(
  use: (scene: Scene) => Promise<void>,
  args: readonly string[] = [],
): Promise<void> {
  await withTempDir(async (folder) => {
    const path = (name: string): string => join(folder, name)
    chmodSync(folder, 0o755)
    for (const name of ['l', 'u', 'w', 'm', 'tree']) mkdirSync(path(name))
    writeFileSync(path('l/old'), 'old')
    mkdirSync(path('l/dir'))
    for (const name of ['img', 'img2']) writeFileSync(path(`tree/${name}`), 'img')
    const image = await mksquashfs(path('tree'), path('i.sqfs'))
    const options = `lowerdir=${path('l')}:${image},upperdir=${path('u')},workdir=${path('w')}`
    const mounted = { runDir: path('run') }
    await atomfsFuse(['overlay', ...args, '-o', options, path('m')], mounted)
    try {
      await use({ lower: path('l'), upper: path('u'), target: path('m') })
    } finally {
      await unmount(path('m'))
      await run('chattr', ['-R', '-i', '-a', path('u')], { allowFailure: true })
    }
  })
}

async function born(...path: string[]): Promise<string> {
  return (await run('stat', ['-c', '%w', join(...path)])).stdout.trim()
}

async function flags(...path: string[]): Promise<string> {
  const { stdout } = await run('lsattr', ['-d', join(...path)])
  return stdout.split(' ')[0] ?? ''
}

const refused = { status: 1 }
const attempt = (program: string, ...args: string[]) => run(program, args, { allowFailure: true })

describe.skipIf(!need.ok)(titled('time of birth', need), () => {
  test('the time of birth is that of the host file, and a file in an image has none', async () => {
    await withOverlay(async ({ lower, upper, target }) => {
      writeFileSync(join(target, 'new'), 'new')
      expect(await born(lower, 'old')).toMatch(/^20/)
      for (const name of ['old', 'dir']) expect(await born(target, name)).toBe(await born(lower, name))
      expect(await born(target, 'new')).toBe(await born(upper, 'new'))
      expect(await born(target, 'img')).toBe('-')
      // A copy is born anew, as with overlayfs; the kernel keeps what it was told while it knows the file.
      chmodSync(join(target, 'img2'), 0o600)
      expect(await born(target, 'img2')).toBe(await born(upper, 'img2'))
    })
  })

  test('the kernel asks a mount of images without birth times for one only', async () => {
    await withTempDir(async (folder) => {
      const [tree, target, runDir] = ['tree', 'm', 'run'].map((name) =>
        join(folder, name),
      ) as unknown as Three
      for (const path of [tree, target]) mkdirSync(path)
      for (let i = 0; i < 5; i++) writeFileSync(join(tree, `file-${i}`), '')
      await atomfsFuse(
        ['mount', '--allow-missing-verity', await mksquashfs(tree, join(folder, 'i')), target],
        {
          runDir,
        },
      )
      try {
        for (let i = 0; i < 5; i++) expect(await born(target, `file-${i}`)).toBe('-')
        const { stdout } = await atomfsFuse(['status', '--json', target], { runDir })
        const { operations } = JSON.parse(stdout) as { operations: Record<string, number> }
        // None before Linux 6.6.
        expect(operations['STATX'] ?? 0).toBeLessThanOrEqual(1)
        expect(operations['LOOKUP']).toBe(5)
      } finally {
        await unmount(target)
      }
    })
  })
})

describe.skipIf(!need.ok)(titled('flags of files', need), () => {
  test('file flags are shown, set after a copy, and kept by the upper', async () => {
    await withOverlay(async ({ lower, upper, target }) => {
      await run('chattr', ['+d', join(lower, 'old')])
      expect(await flags(target, 'old')).toBe(await flags(lower, 'old'))
      expect(await flags(target, 'dir')).toBe(await flags(lower, 'dir'))
      await run('chattr', ['+A', join(target, 'old')])
      await run('chattr', ['+d', join(target, 'dir')])
      for (const name of ['old', 'dir']) expect(await flags(target, name)).toBe(await flags(upper, name))
      expect(await flags(upper, 'old')).toContain('A')
      expect(await flags(upper, 'dir')).toContain('d')
      expect(await flags(lower, 'old')).not.toContain('A')
      // As the kernel answers for squashfs.
      expect(await attempt('lsattr', join(target, 'img'))).toMatchObject(refused)
      expect(await attempt('chattr', '+i', join(target, 'img'))).toMatchObject(refused)
    })
  })

  test('file flags make a file immutable or append-only', async () => {
    await withOverlay(async ({ target }) => {
      const [path, log] = [join(target, 'old'), join(target, 'log')]
      writeFileSync(log, '1')
      await run('chattr', ['+i', path])
      await run('chattr', ['+a', log])
      expect(() => writeFileSync(path, 'x')).toThrow('EPERM')
      expect(() => rmSync(path)).toThrow('EPERM')
      expect(() => chmodSync(path, 0o777)).toThrow('EPERM')
      expect(() => rmSync(log)).toThrow('EPERM')
      expect(await attempt('mv', path, join(target, 'other'))).toMatchObject(refused)
      await run('chattr', ['-i', path])
      await run('chattr', ['-a', log])
      writeFileSync(path, 'new')
      appendFileSync(log, '2')
      expect(readFileSync(path, 'latin1') + readFileSync(log, 'latin1')).toBe('new12')
      rmSync(path)
    })
  })

  test('only the owner sets file flags, and the flag `i` needs the capability for it', async () => {
    await withOverlay(async ({ target }) => {
      chmodSync(target, 0o777)
      writeFileSync(join(target, 'f'), '')
      const asUser = ['--reuid=1234', '--regid=1234', '--clear-groups', 'chattr']
      expect(await attempt('setpriv', ...asUser, '+A', join(target, 'f'))).toMatchObject(refused)
      await run('chown', ['1234:1234', join(target, 'f')])
      await run('setpriv', [...asUser, '+A', join(target, 'f')])
      expect(await attempt('setpriv', ...asUser, '+i', join(target, 'f'))).toMatchObject(refused)
      expect(await flags(target, 'f')).toMatch(/^[^i]*A[^i]*$/)
    })
  })
})

describe.skipIf(!need.ok)(titled('copying up', need), () => {
  const open = (path: string, flags: string) => {
    const fd = openSync(path, flags)
    return () => closeSync(fd)
  }

  test('a file is copied up when it is opened for writing, if that is asked for', async () => {
    await withOverlay(
      async ({ upper, target }) => {
        open(join(target, 'old'), 'r')()
        expect(readdirSync(upper)).toEqual([])
        const close = open(join(target, 'old'), 'r+')
        expect(readFileSync(join(upper, 'old'), 'latin1')).toBe('old')
        close()
        open(join(target, 'img'), 'a')()
        expect(readdirSync(upper)).toEqual(['img', 'old'])
        writeFileSync(join(target, 'new'), 'new')
        expect(readFileSync(join(target, 'new'), 'latin1')).toBe('new')
      },
      ['-o', 'copyup=open'],
    )
  })

  test('a file is copied up by its first change otherwise', async () => {
    await withOverlay(async ({ upper, target }) => {
      open(join(target, 'old'), 'r+')()
      expect(readdirSync(upper)).toEqual([])
    })
  })
})
