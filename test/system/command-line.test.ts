import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ATOMFS_FUSE,
  appendVerity,
  daemonPid,
  isMounted,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
  withTempDir,
  writeOciLayout,
} from '../support/index.ts'
import { entries, inScene, isGone, type LifeImage, makeLifeImage, SILENT, until } from './life-scene.ts'

/** What the caller hands to a mount beside an image: its environment, its options, its words. */

const need = needs('root', 'fuse', 'mksquashfs')

let life: LifeImage
beforeAll(async () => {
  if (need.ok) life = await makeLifeImage()
})
afterAll(() => {
  if (need.ok) removeTempDir(life.folder)
})

describe.skipIf(!need.ok)(titled('the environment of a daemon', need), () => {
  it('holds what is listed, and nothing that decides what code is loaded', async () => {
    await inScene(async ({ target, runDir, atomfs }) => {
      const env = {
        ATOMFS_TEST_RUN_DIR: runDir,
        TZ: 'UTC',
        LC_TIME: 'C',
        NODE_OPTIONS: '--no-deprecation',
        NODE_PATH: '/nowhere',
        NODE_EXTRA_CA_CERTS: '/dev/null',
        LD_LIBRARY_PATH: '/nowhere',
        LD_PRELOAD: '',
        NAPI_RS_NATIVE_LIBRARY_PATH: '/nowhere/driver.node',
        SECRET: 'x',
      }
      expect(await run(ATOMFS_FUSE, ['mount', life.image, target], { env })).toMatchObject(SILENT)
      const text = readFileSync(`/proc/${daemonPid(runDir)}/environ`, 'utf8')
      const names = text.split('\0').map((entry) => entry.split('=')[0] ?? '')
      expect(names).toEqual(expect.arrayContaining(['ATOMFS_TEST_RUN_DIR', 'TZ', 'LC_TIME', 'PATH']))
      expect(names.filter((name) => /^(NODE_|LD_|NAPI_|SECRET)/.test(name))).toEqual([])
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
    })
  })
})

/** The options of the mount and of its file system as the kernel shows them (proc_pid_mountinfo(5)). */
function shownOptions(target: string): readonly string[] {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((one) => one.split(' ')[4] === target)
  const fields = (line ?? '').split(' ')
  return [...(fields[5] ?? '').split(','), ...(fields.at(-1) ?? '').split(',')]
}

describe.skipIf(!need.ok)(titled('options of mount(8)', need), () => {
  it.each([
    ['noatime', ['noatime']],
    ['relatime,nodiratime', ['relatime', 'nodiratime']],
    ['sync,dirsync', ['sync', 'dirsync', 'relatime']],
    ['async,loop,iversion,defaults,_netdev,subtype=x', ['relatime']],
  ])('%s', async (list, shown) => {
    await inScene(async ({ target, atomfs }) => {
      expect(await atomfs('mount', '-o', `rw,${list}`, life.image, target)).toMatchObject(SILENT)
      const options = shownOptions(target)
      expect(options).toEqual(expect.arrayContaining([...shown, 'ro']))
      const others = ['noatime', 'relatime', 'nodiratime', 'sync', 'dirsync'].filter(
        (one) => !shown.includes(one),
      )
      expect(options.filter((one) => others.includes(one))).toEqual([])
    })
  })

  it('nosymfollow: links are shown and not followed', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      const tree = join(folder, 'tree')
      mkdirSync(tree)
      writeFileSync(join(tree, 'file'), 'x')
      symlinkSync('file', join(tree, 'link'))
      const image = await mksquashfs(tree, join(folder, 'image'))
      expect(await atomfs('mount', '-o', 'nosymfollow', image, target)).toMatchObject(SILENT)
      expect((await run('readlink', [join(target, 'link')])).stdout).toBe('file\n')
      const followed = await run('cat', [join(target, 'link')], { allowFailure: true })
      expect(followed.stderr).toMatch(/Too many levels of symbolic links/)
    })
  })

  it('a call without a verb mounts', async () => {
    await inScene(async ({ target, atomfs }) => {
      expect(await atomfs(life.image, target, '-o', 'rw,nodev')).toMatchObject(SILENT)
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
      expect(await atomfs('-o', 'ro', life.image, target)).toMatchObject(SILENT)
      const wrong = await atomfs('mout', life.image, target)
      expect(wrong).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/unknown command 'mout'.*mount/),
      })
    })
  })
})

describe.skipIf(!need.ok)(titled('a mount that is bound to a second place', need), () => {
  it('is unmounted at its first, goes on at the second, and ends with that', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      const other = join(folder, 'other')
      mkdirSync(other)
      await atomfs('mount', '--persist', join(folder, 'changes'), life.image, target)
      const pid = daemonPid(runDir)
      await run('mount', ['--bind', target, other])
      expect(await atomfs('umount', target)).toMatchObject(SILENT)
      expect(isMounted(target)).toBe(false)
      await run('sh', ['-c', `echo changed >${other}/etc/motd`])
      expect(isGone(pid)).toBe(false)
      expect(await atomfs('umount', other)).toMatchObject(SILENT)
      await until(() => isGone(pid), 'the end of the daemon')
      expect(entries(runDir)).toEqual([])
      expect(readFileSync(join(folder, 'changes/persist/etc/motd'), 'utf8')).toBe('changed\n')
    })
  })
})

describe.skipIf(!need.ok)(titled('what names an image', need), () => {
  it('a layout without a tag, by itself and by digest, in every command', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      const layout = join(folder, 'layout')
      await writeOciLayout(layout, [{ layers: [{ file: life.image }] }])
      const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'))
      const { digest } = index.manifests[0]
      for (const source of [
        layout,
        `oci:${layout}`,
        `${layout}:`,
        `${layout}@${digest}`,
        `${layout}:${digest}`,
      ]) {
        const report = await atomfs('inspect', '--json', source)
        expect([source, JSON.parse(report.stdout).manifestDigest]).toEqual([source, digest])
      }
      expect(await atomfs('mount', '--allow-missing-verity', `${layout}@${digest}`, target)).toMatchObject(
        SILENT,
      )
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      const verdict = await atomfs('verify', layout)
      expect(verdict.stdout).toMatch(/^sha256:[0-9a-f]{64}: not verified \(no root hash\)\n$/)
    })
  })

  it('an offset, wherever an image can be named', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      const file = join(folder, 'with-head')
      writeFileSync(file, Buffer.concat([Buffer.alloc(8192, 7), readFileSync(life.image)]))
      expect(await atomfs('mount', '--offset', '8K', file, target)).toMatchObject(SILENT)
      expect((await run('cat', [join(target, 'etc/motd')])).stdout).toBe('hello\n')
      expect((await atomfs('inspect', '--offset', '8192', file)).status).toBe(0)
      expect((await atomfs('verify', '--offset', '8192', file)).stdout).toMatch(/not verified/)
      expect((await atomfs('mount', '--offset', '-1', file, target)).stderr).toMatch(
        /^Error: option --offset=-1/,
      )
    })
  })

  it('a root hash that is none is an error, and no corruption', async () => {
    await withTempDir(async (folder) => {
      const file = join(folder, 'image')
      writeFileSync(file, readFileSync(life.image))
      const { rootHash } = await appendVerity(file)
      await inScene(async ({ atomfs }) => {
        expect((await atomfs('verify', '--root-hash', rootHash, file)).status).toBe(0)
        for (const wrong of ['00', 'zz', rootHash.slice(1), rootHash.slice(24), `${rootHash}${rootHash}`]) {
          const { status, stdout, stderr } = await atomfs('verify', '--root-hash', wrong, file)
          expect([wrong, status, stdout]).toEqual([wrong, 1, ''])
          expect(stderr).toMatch(/^Error: .*(hex digit|root hash has (20|64) bytes)/)
        }
        const other = `${rootHash.slice(2)}00`
        expect((await atomfs('verify', '--root-hash', other, file)).stdout).toMatch(/CORRUPTION FOUND/)
      })
    })
  })
})
