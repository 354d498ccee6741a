import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { atomfsFuse, needs, titled, unmount, withTempDir } from '../library/index.ts'

/** `mount -o remount,…`: mount(8) calls the program of a FUSE mount for it. */

const need = needs('root', 'fuse')

interface Scene {
  readonly upper: string
  readonly target: string
  readonly remount: (options: string, source?: string) => Promise<string>
}

/** @param options beside the directories */
async function withMount(options: string, use: (scene: Scene) => Promise<void> | void): Promise<void> {
  await withTempDir(async (folder) => {
    const path = (name: string): string => join(folder, name)
    for (const name of ['l', 'u', 'w', 'm']) mkdirSync(path(name))
    writeFileSync(path('l/old'), 'old')
    const mounted = { runDir: path('run') }
    const all = `${options}lowerdir=${path('l')},upperdir=${path('u')},workdir=${path('w')}`
    await atomfsFuse(['overlay', '-o', all, path('m')], mounted)
    try {
      await use({
        upper: path('u'),
        target: path('m'),
        remount: async (words, source = 'none') => {
          const args = [source, path('m'), '-o', `rw,${words}`]
          return (await atomfsFuse(args, { ...mounted, allowFailure: true })).stderr
        },
      })
    } finally {
      await unmount(path('m'))
    }
  })
}

/** Flags of the mount, then those of the file system. */
function flagsOf(target: string): readonly string[] {
  const line = readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .find((one) => one.includes(` ${target} `))
  const [flags = '', , , , file = ''] = line?.split(' ').slice(5) ?? []
  return [...flags.split(','), file.split(',')[0] ?? '']
}

describe.skipIf(!need.ok)(titled('a mount that is remounted with other options', need), () => {
  test('a mount remounted read-only refuses changes, keeps earlier ones, and accepts changes after another remount', async () => {
    await withMount('', async ({ upper, target, remount }) => {
      writeFileSync(join(target, 'new'), 'new')
      expect(await remount('remount,ro')).toBe('')
      expect(flagsOf(target)).toEqual(['ro', 'nodev', 'relatime', 'ro'])
      expect(readFileSync(join(upper, 'new'), 'latin1')).toBe('new')
      for (const name of ['new', 'old', 'other']) {
        expect(() => writeFileSync(join(target, name), 'x')).toThrow('EROFS')
      }
      expect(await remount('remount,noexec,noatime', 'overlay')).toBe('')
      expect(flagsOf(target)).toEqual(['rw', 'nodev', 'noexec', 'noatime', 'rw'])
      writeFileSync(join(target, 'old'), 'changed')
      expect(await remount('remount,exec,user_id=0,fd=5')).toBe('')
      expect(flagsOf(target)).toEqual(['rw', 'nodev', 'noatime', 'rw'])
    })
  })

  test('a remount is refused while a file is open for writing', async () => {
    await withMount('', async ({ target, remount }) => {
      const fd = openSync(join(target, 'old'), 'a')
      expect(await remount('remount,ro')).toMatch(/^Error: remount .*files are open for writing.*\n$/)
      closeSync(fd)
      writeFileSync(join(target, 'old'), 'changed')
      expect(await remount('remount,ro')).toBe('')
    })
  })

  test('a mount made without changes accepts none after a remount', async () => {
    await withMount('ro,', async ({ upper, target, remount }) => {
      expect(await remount('remount')).toMatch(/^Error: remount: .* takes no changes: unmount it.*\n$/)
      expect(await remount('remount,ro,noexec')).toBe('')
      expect(flagsOf(target)).toEqual(['ro', 'nodev', 'noexec', 'relatime', 'ro'])
      expect(() => writeFileSync(join(target, 'new'), 'x')).toThrow('EROFS')
      expect(existsSync(join(upper, 'new'))).toBe(false)
    })
  })

  test('a remount of another file system is refused', async () => {
    const { stderr, status } = await atomfsFuse(['mount', '-o', 'remount,ro', 'none', '/proc'], {
      allowFailure: true,
    })
    expect([status, stderr]).toEqual([1, 'Error: remount: /proc is not a mount of atomfs-fuse\n'])
  })
})
