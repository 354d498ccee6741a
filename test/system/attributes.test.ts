import { chmodSync, chownSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { mksquashfs, mountKernelSquashfs, needs, run, titled, unmount, withTarget } from '../library/index.ts'
import { readXattrs, setXattr } from '../library/programs/native.ts'
import { until } from '../library/programs/wait.ts'
import { inScene, readLog, SILENT } from '../library/scenes/life.ts'

/** Extended attributes, access lists and inode numbers as programs of several users meet them. */

const need = needs('root', 'fuse', 'mksquashfs', 'setfacl', 'getfattr', 'setpriv')
const withKernel = needs('root', 'fuse', 'mksquashfs', 'getfattr', 'kernel-squashfs', 'loop')
const withRsync = needs('root', 'fuse', 'mksquashfs', 'setpriv', 'rsync')

/** Runs a program as a user in no group but his own. */
const as = (id: number, command: string, ...args: readonly string[]) =>
  run('setpriv', ['--reuid', `${id}`, '--regid', `${id}`, '--clear-groups', command, ...args], {
    allowFailure: true,
  })

describe.skipIf(!need.ok)(titled('access lists', need), () => {
  test('access lists are enforced in directories, in read-only and writable mounts, and in an upper that is shown only', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      chmodSync(folder, 0o755)
      for (const path of ['low', 'low/closed', 'up', 'work', 'tree']) mkdirSync(join(folder, path))
      const image = await mksquashfs(join(folder, 'tree'), join(folder, 'i.sqfs'))
      const layers = `lowerdir=${folder}/low`
      for (const path of ['low', 'up']) {
        for (const name of ['deny', 'grant']) writeFileSync(join(folder, path, name), name)
        chmodSync(join(folder, path, 'grant'), 0o600)
        await run('setfacl', ['-m', 'u:1000:---', join(folder, path, 'deny')])
        await run('setfacl', ['-m', 'u:1000:r', join(folder, path, 'grant')])
      }
      writeFileSync(join(folder, 'low/closed/f'), 'f')
      await run('setfacl', ['-m', 'u:1000:---', join(folder, 'low/closed')])
      for (const [mounting, files] of [
        [
          ['overlay', '-o', layers, target],
          ['deny', 'grant', 'closed/f'],
        ],
        [
          ['overlay', '-o', `${layers},upperdir=${folder}/up,ro`, target],
          ['deny', 'grant', 'closed/f'],
        ],
        [
          ['mount', '--upper', `${folder}/up`, '-o', 'ro,allow_other', image, target],
          ['deny', 'grant'],
        ],
        [
          ['overlay', '-o', `${layers},upperdir=${folder}/up,workdir=${folder}/work`, target],
          ['deny', 'grant', 'closed/f'],
        ],
      ] as const) {
        expect(await atomfs(...mounting)).toMatchObject({ status: 0 })
        for (const file of files) {
          const path = join(target, file)
          const granted = file === 'grant'
          expect(await as(1000, 'cat', path), `${mounting.join(' ')}: ${file}`).toMatchObject({
            status: granted ? 0 : 1,
            stdout: granted ? file : '',
          })
          expect((await as(1001, 'cat', path)).status, file).toBe(granted ? 1 : 0)
        }
        await unmount(target)
      }
    })
  })

  test('access lists and capabilities name users and groups with the mapping of owners, in both directions', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      chmodSync(folder, 0o755)
      for (const path of ['low', 'up', 'work']) mkdirSync(join(folder, path))
      const path = join(folder, 'low/f')
      writeFileSync(path, 'f')
      chmodSync(path, 0o600)
      await run('setfacl', ['-m', 'u:3:r,g:4:r,u:77:rw', path])
      const capability = Buffer.from('0100000300200000000000000000000000000000' + '03000000', 'hex')
      setXattr(Buffer.from(path), 'security.capability', capability)
      const places = `lowerdir=${folder}/low,upperdir=${folder}/up,workdir=${folder}/work`
      const mapping = 'uidmapping=0:1000:10,gidmapping=0:2000:10'
      const seen = join(target, 'f')
      const list = async (file: string) =>
        (await run('getfacl', ['-nc', file])).stdout.split('\n').filter((line) => /:\d+:/.test(line))
      for (const options of [`lowerdir=${folder}/low,${mapping}`, `${places},${mapping}`]) {
        expect(await atomfs('overlay', '-o', options, target)).toMatchObject(SILENT)
        expect(await list(seen)).toEqual(['user:1003:r--', 'group:2004:r--'])
        expect(await as(1003, 'cat', seen)).toMatchObject({ status: 0, stdout: 'f' })
        for (const other of [3, 77, 65534]) expect((await as(other, 'cat', seen)).status).toBe(1)
        const [rootId] = readXattrs(Buffer.from(seen))['security.capability']!.match(/.{8}$/)!
        expect(Buffer.from(rootId, 'hex').readUInt32LE()).toBe(1003)
        if (options === `lowerdir=${folder}/low,${mapping}`) await unmount(target)
      }
      await run('setfacl', ['-m', 'u:1005:rw', seen])
      capability.writeUInt32LE(1006, 20)
      setXattr(Buffer.from(seen), 'security.capability', capability)
      expect((await run('setfacl', ['-m', 'u:5:rw', seen], { allowFailure: true })).stderr).toContain(
        'Invalid argument',
      )
      expect(await list(seen)).toEqual(['user:1003:r--', 'user:1005:rw-', 'group:2004:r--'])
      await unmount(target)
      expect(await list(join(folder, 'up/f'))).toEqual(['user:3:r--', 'user:5:rw-', 'group:4:r--'])
      const stored = readXattrs(Buffer.from(join(folder, 'up/f')))['security.capability']!
      expect(Buffer.from(stored, 'hex').readUInt32LE(20)).toBe(6)
    })
  })
})

describe.skipIf(!need.ok)(titled('attributes of trusted.', need), () => {
  const users = 'attributes of trusted. are listed and readable only for root of the machine'
  test(users, async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      chmodSync(folder, 0o755)
      for (const path of ['tree', 'up', 'copies']) mkdirSync(join(folder, path))
      chownSync(join(folder, 'copies'), 1000, 1000)
      writeFileSync(join(folder, 'tree/f'), 'f')
      for (const name of ['trusted.one', 'user.two']) {
        setXattr(Buffer.from(join(folder, 'tree/f')), name, Buffer.from('v'))
      }
      const image = await mksquashfs(join(folder, 'tree'), join(folder, 'i.sqfs'))
      const file = join(target, 'f')
      for (const more of [[], ['--upper', join(folder, 'up')]]) {
        expect(await atomfs('mount', '-o', 'allow_other', ...more, image, target)).toMatchObject(SILENT)
        expect(Object.keys(readXattrs(Buffer.from(file)))).toEqual(['trusted.one', 'user.two'])
        const listed = await as(1000, 'getfattr', '--absolute-names', '-m-', '-d', file)
        expect(listed).toMatchObject({ status: 0, stdout: `# file: ${file}\nuser.two="v"\n\n`, stderr: '' })
        if (withRsync.ok) {
          const copied = await as(1000, 'rsync', '-aX', file, join(folder, 'copies', `${more.length}`))
          expect(copied).toMatchObject(SILENT)
        }
        await unmount(target)
      }
    })
  })
})

describe.skipIf(!withKernel.ok)(titled('an image without attributes', withKernel), () => {
  test('the daemon reports an image without attributes once, and programs see what the kernel shows', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      mkdirSync(join(folder, 'tree'))
      writeFileSync(join(folder, 'tree/f'), '#!/bin/sh\nexit 7\n', { mode: 0o755 })
      const image = await mksquashfs(join(folder, 'tree'), join(folder, 'i.sqfs'))
      const look = async (root: string) => {
        const results = []
        for (const [command, ...args] of [
          ['getfattr', '-d', '-m-', 'f'],
          ['getfattr', '-n', 'user.x', 'f'],
          ['getfattr', '-n', 'security.capability', 'f'],
          ['getfattr', '-n', 'system.posix_acl_access', 'f'],
          ['ls', '-l', 'f'],
          ['cp', '-a', 'f', join(folder, 'copy')],
          ['./f'],
        ] as const) {
          const { status, stdout, stderr } = await run(command, args, { cwd: root, allowFailure: true })
          // The kernel's squashfs says ENODATA for most names, and EOPNOTSUPP for lists of directories.
          results.push({
            command: [command, ...args],
            status,
            stdout,
            stderr: args[0] === '-n' ? '' : stderr,
          })
        }
        return results
      }
      const ours = await (async () => {
        expect(await atomfs('--debug', 'mount', image, target)).toMatchObject(SILENT)
        const seen = [...(await look(target)), ...(await look(target))]
        // What a daemon writes about a request may come after its answer.
        await until(() => readLog(runDir).includes('GETXATTR'), 'the line in the log')
        const asked = readLog(runDir).match(/ (?:GET|LIST)XATTR .*/g) ?? []
        expect(asked.filter((line) => line.includes('GETXATTR'))).toEqual([
          expect.stringMatching(/ -> ENOSYS$/),
        ])
        await unmount(target)
        return seen
      })()
      await withTarget(folder, async (kernel) => {
        await mountKernelSquashfs(image, kernel)
        expect(ours).toEqual([...(await look(kernel)), ...(await look(kernel))])
      })
      expect(ours.at(-1)?.status).toBe(7)
    })
  })
})

describe.skipIf(!withKernel.ok)(titled('an image with attributes', withKernel), () => {
  test('a listing asks for labels and access lists only until it is told that there are none', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      mkdirSync(join(folder, 'tree'))
      const names = Array.from({ length: 100 }, (_, i) => `f${i}`)
      for (const [i, name] of names.entries()) {
        writeFileSync(join(folder, 'tree', name), name)
        setXattr(Buffer.from(join(folder, 'tree', name)), `user.kind${i % 3}`, Buffer.from(`value ${i}`))
      }
      const image = await mksquashfs(join(folder, 'tree'), join(folder, 'i.sqfs'), { extra: ['-xattrs'] })
      const look = async (root: string) => {
        const listed = await run('ls', ['-la', '--time-style=full-iso', root], { env: { LC_ALL: 'C' } })
        const attributes = await run('getfattr', ['-R', '-d', '-m-', '.'], { cwd: root })
        const one = await run('getfattr', ['-n', 'user.kind1', 'f0', 'f1'], { cwd: root, allowFailure: true })
        return [listed.stdout.replace(/ \.\.$/m, ''), attributes.stdout, one]
      }
      expect(await atomfs('--debug', 'mount', image, target)).toMatchObject(SILENT)
      const ours = await look(target)
      const asked = readLog(runDir).match(/ GETXATTR .*(?:selinux|posix_acl).*/g) ?? []
      // A few first questions are answered by looking at the file (`XattrNameLists`).
      expect(asked.length).toBeLessThan(40)
      await unmount(target)
      await withTarget(folder, async (kernel) => {
        await mountKernelSquashfs(image, kernel)
        const theirs = await look(kernel)
        expect(ours[1]).toEqual(theirs[1])
        expect(ours[2]).toEqual(theirs[2])
      })
    })
  })
})

describe.skipIf(!need.ok)(titled('inode numbers', need), () => {
  test('inode numbers fit 32 bits in a mount of images and directories, before and after a copy and a remount', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      for (const path of ['one/d', 'two/d', 'tree/d', 'up', 'work'])
        mkdirSync(join(folder, path), { recursive: true })
      for (const path of ['one/d/a', 'two/d/b', 'tree/d/c']) writeFileSync(join(folder, path), path)
      const image = await mksquashfs(join(folder, 'tree'), join(folder, 'i.sqfs'))
      const numbers = (...names: readonly string[]) => {
        const all = names.map((name) => statSync(join(target, name)).ino)
        expect(new Set(all).size).toBe(all.length)
        for (const ino of all) expect(ino).toBeLessThan(2 ** 32)
        return all
      }
      const places = `lowerdir=${folder}/two:${folder}/one,upperdir=${folder}/up,workdir=${folder}/work`
      expect(await atomfs('overlay', '-o', places, target)).toMatchObject(SILENT)
      const before = numbers('.', 'd', 'd/a', 'd/b')
      writeFileSync(join(target, 'd/a'), 'changed')
      writeFileSync(join(target, 'd/new'), 'new')
      expect(numbers('.', 'd', 'd/a', 'd/b', 'd/new').slice(0, 4)).toEqual(before)
      await unmount(target)
      mkdirSync(join(folder, 'up2'))
      for (let round = 0, first: number[] = []; round < 2; round++) {
        expect(await atomfs('mount', '--upper', join(folder, 'up2'), image, target)).toMatchObject(SILENT)
        const shown = numbers('.', 'd', 'd/c')
        if (round === 0) {
          first = shown
          writeFileSync(join(target, 'd/c'), 'changed')
          writeFileSync(join(target, 'd/new'), 'new')
        }
        expect(numbers('.', 'd', 'd/c', 'd/new').slice(0, 3)).toEqual(first)
        await unmount(target)
      }
    })
  })
})
