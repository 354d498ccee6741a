import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { daemonEnvironment } from '../src/daemon/life/environment.ts'
import { type RunResult, run, withTempDir } from './library/index.ts'

/** Which Node the launcher starts, and with what. Each Node here is a script that says its name and its words. */

const LAUNCHER = resolve(import.meta.dirname, '../bin/atomfs-fuse')
const FIXED = ['/usr/local/bin/node', '/usr/bin/node'].find((path) => existsSync(path))

interface Places {
  readonly folder: string
  /** The launcher where npm puts it with `--global`, and the link that npm makes to it. */
  readonly installed: string
  readonly link: string
}

async function inPlaces(play: (places: Places) => Promise<void>): Promise<void> {
  await withTempDir(async (folder) => {
    const installed = join(folder, 'prefix/lib/node_modules/atomfs-fuse/bin/atomfs-fuse')
    mkdirSync(dirname(installed), { recursive: true })
    copyFileSync(LAUNCHER, installed)
    const link = join(folder, 'prefix/bin/atomfs-fuse')
    mkdirSync(dirname(link))
    symlinkSync('../lib/node_modules/atomfs-fuse/bin/atomfs-fuse', link)
    await play({ folder, installed, link })
  })
}

function fakeNode(path: string, name: string): string {
  mkdirSync(dirname(path), { recursive: true })
  const seen = ['NODE_OPTIONS', 'NODE_PATH', 'NODE_EXTRA_CA_CERTS'].map(
    (variable) => `\${${variable}+${variable}}`,
  )
  writeFileSync(path, `#!/bin/sh\nprintf '%s|' ${name} "$@" ${seen.join(' ')}\n`)
  chmodSync(path, 0o755)
  return path
}

async function start(program: string, path: string, args: readonly string[] = ['a b', '']): Promise<string> {
  const env = { PATH: path, NODE_OPTIONS: '--no-deprecation', NODE_PATH: '/x', NODE_EXTRA_CA_CERTS: '/x' }
  return (await run(program, args, { env, cwd: dirname(program) })).stdout
}

describe('the launcher', () => {
  test('the launcher prefers the Node of its installation, and removes environment variables that load code', async () => {
    await inPlaces(async ({ folder, installed, link }) => {
      fakeNode(join(folder, 'prefix/bin/node'), 'beside')
      fakeNode(join(folder, 'path/node'), 'path')
      const path = join(folder, 'path')
      expect(await start(link, path)).toBe(`beside|${link}|a b||`)
      expect(await start(installed, path)).toBe(`beside|${installed}|a b||`)
      // By a link to the link, of another name, as container engines are given it.
      const other = join(folder, 'fuse-overlayfs')
      symlinkSync(link, other)
      expect(await start(other, path)).toBe(`beside|${other}|a b||`)
    })
  })

  test('the launcher falls back to the recorded Node, then to that of PATH', async () => {
    await inPlaces(async ({ folder, installed, link }) => {
      const path = dirname(fakeNode(join(folder, 'path/node'), 'path'))
      expect(await start(link, path)).toBe(`path|${link}|a b||`)
      const written = fakeNode(join(folder, 'some where/node'), 'written')
      writeFileSync(join(dirname(installed), 'node-path'), `${written}\n`)
      expect(await start(link, path)).toBe(`written|${link}|a b||`)
      writeFileSync(join(dirname(installed), 'node-path'), `${written}-gone\n`)
      expect(await start(link, path)).toBe(`path|${link}|a b||`)
    })
  })

  test('the launcher does not take a Node that lies three folders above a clone', async () => {
    await withTempDir(async (folder) => {
      const clone = join(folder, 'a/b/clone/bin/atomfs-fuse')
      mkdirSync(dirname(clone), { recursive: true })
      copyFileSync(LAUNCHER, clone)
      fakeNode(join(folder, 'bin/node'), 'stranger')
      const path = dirname(fakeNode(join(folder, 'path/node'), 'path'))
      expect(await start(clone, path)).toBe(`path|${clone}|a b||`)
    })
  })

  test('the launcher finds Node in a usual place without PATH, or reports that there is none', async () => {
    const { status, stdout, stderr } = await run(LAUNCHER, ['--version'], {
      env: { PATH: '/nonexistent' },
      allowFailure: true,
    })
    if (FIXED === undefined)
      expect([status, stderr]).toEqual([1, expect.stringMatching(/^Error: no Node found: .*\n$/)])
    else expect([status, stdout, stderr]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/), ''])
  })
})

interface Direct {
  readonly folder: string
  /** Runs the launcher; a shell runs `before` first. The Node of a direct mount gives `answer`. */
  readonly call: (words: readonly string[], given?: DirectCall) => Promise<RunResult>
  /** What the Node of the direct mount saw; undefined where none was started. */
  readonly seen: (what: 'words' | 'env' | 'fds') => readonly string[] | undefined
}

interface DirectCall {
  readonly answer?: string
  readonly name?: string
  readonly before?: string
  readonly env?: Readonly<Record<string, string>>
}

/** A launcher beside an empty program, and a Node that answers as it is told and writes down what it was given. */
async function inDirect(play: (direct: Direct) => Promise<void>): Promise<void> {
  await withTempDir(async (folder) => {
    for (const name of ['bin', 'dist', 'seen', 'path', 't']) mkdirSync(join(folder, name))
    copyFileSync(LAUNCHER, join(folder, 'bin/atomfs-fuse'))
    writeFileSync(join(folder, 'dist/loader.cjs'), '')
    const node = join(folder, 'path/node')
    writeFileSync(
      node,
      `#!/bin/sh
       case $2 in
         *loader.cjs)
           printf '%s\\n' "$@" >'${folder}/seen/words'
           cat /proc/$$/environ | tr '\\0' '\\n' >'${folder}/seen/env'
           ls /proc/$$/fd >'${folder}/seen/fds'
           cat '${folder}/answer'
           ;;
         *) printf 'program' ;;
       esac
      `,
    )
    chmodSync(node, 0o755)
    const target = join(folder, 't')
    await play({
      folder,
      call: async (
        words,
        { answer = `77\n\n${target}/\n`, name = 'atomfs-fuse', before = '', env = {} } = {},
      ) => {
        writeFileSync(join(folder, 'answer'), answer)
        for (const what of ['words', 'env', 'fds']) writeFileSync(join(folder, 'seen', what), '')
        const program = join(folder, 'bin', name)
        if (!existsSync(program)) symlinkSync('atomfs-fuse', program)
        const path = `${join(folder, 'path')}:${process.env['PATH']}`
        return await run('sh', ['-c', `${before}\nexec "$0" "$@"`, program, ...words], {
          env: { PATH: path, NOTIFY_SOCKET: undefined, ...env },
          allowFailure: true,
        })
      },
      seen: (what) => {
        const text = readFileSync(join(folder, 'seen', what), 'utf8')
        return text === '' ? undefined : text.trimEnd().split('\n')
      },
    })
  })
}

const DONE = { status: 0, stdout: '', stderr: '' }
const BY_PROGRAM = { status: 0, stdout: 'program', stderr: '' }

describe('a direct mount of the launcher', () => {
  test('the launcher mounts by one Node, which gets its name and its words, and prints nothing', async () => {
    await inDirect(async ({ folder, call, seen }) => {
      const words = ['mount', '-o', 'ro', '--persist', 'a b', 'x*', 't']
      expect(await call(words)).toMatchObject(DONE)
      const [engine, loader, entry, pid, left, ...rest] = seen('words')!
      expect([engine, entry]).toEqual(['--v8-pool-size=1', 'mount'])
      expect(left).toMatch(/^( \d\d+)*$/)
      expect(loader).toBe(`${folder}/bin/../dist/loader.cjs`)
      expect(Number(pid)).toBeGreaterThan(1)
      expect(rest).toEqual([join(folder, 'bin/atomfs-fuse'), ...words])
    })
  })

  test.each([
    ['atomfs-fuse', ['mount', 'a', 't']],
    ['atomfs', ['mount', '--persist', 'x', 'a:b', 't']],
    ['atomfs-fuse', ['overlay', '-o', 'lowerdir=a', 't']],
    ['atomfs-fuse', ['/a', 't', '-o', 'ro']],
    ['fuse-overlayfs', ['-o', 'lowerdir=a', 't']],
    ['squashfuse', ['-s', 'a', 't']],
    ['squashfuse_ll', ['a', 't', '-oallow_other']],
    ['puzzlefs', ['mount', '--persist', 'x', 'a:b', 't']],
    ['mount.atomfs-fuse', ['a', 't', '-n', '-o', 'rw', '-t', 'fuse.atomfs-fuse']],
  ])('the launcher mounts directly: %s %j', async (name, words) => {
    await inDirect(async ({ call, seen }) => {
      expect(await call(words, { name })).toMatchObject(DONE)
      expect(seen('words')?.at(-1)).toBe(words.at(-1))
    })
  })

  test.each([
    ['atomfs-fuse', []],
    ['atomfs-fuse', ['status']],
    ['atomfs-fuse', ['status', 'x']],
    ['atomfs-fuse', ['umount', 't']],
    ['atomfs-fuse', ['mount', '--help']],
    ['atomfs-fuse', ['mount', '-f', 'a', 't']],
    ['atomfs-fuse', ['mount', 'a', 't', '--foreground']],
    ['atomfs-fuse', ['mount', '--ready-fd', '3', 'a', 't']],
    ['atomfs-fuse', ['mount', '--ready-fd=3', 'a', 't']],
    ['atomfs-fuse', ['mount', '/proc/self/fd/3', 't']],
    ['atomfs-fuse', ['mount', '/dev/stdin', 't']],
    ['atomfs-fuse', ['mount', 'a', '/dev/fd/5']],
    ['atomfs-fuse', ['mount', '-o', 'remount,ro', 't']],
    ['fuse-overlayfs', ['-f', '-o', 'lowerdir=a', 't']],
    ['fuse-overlayfs', ['-d', '-o', 'lowerdir=a', 't']],
    ['squashfuse', ['-V', 'x']],
    ['puzzlefs', ['mount', '-w', 'a:b', 't']],
    ['puzzlefs', ['umount', 't']],
    ['mount.atomfs-fuse', ['a', 't', '-f']],
  ])('the launcher leaves to the program: %s %j', async (name, words) => {
    await inDirect(async ({ call, seen }) => {
      expect(await call(words, { name })).toMatchObject(BY_PROGRAM)
      expect(seen('words')).toBeUndefined()
    })
  })

  test('a service manager that waits for a message gets it from the program', async () => {
    await inDirect(async ({ call, seen }) => {
      expect(await call(['mount', 'a', 't'], { env: { NOTIFY_SOCKET: '/x' } })).toMatchObject(BY_PROGRAM)
      expect(seen('words')).toBeUndefined()
    })
  })

  test('without an answer the program runs, and where the root does not answer', async () => {
    await inDirect(async ({ folder, call, seen }) => {
      expect(await call(['mount', 'a', 't'], { answer: '' })).toMatchObject(BY_PROGRAM)
      expect(seen('words')).toBeDefined()
      // No process has this pid.
      const answer = `4194304\n\n${join(folder, 'missing')}/\n`
      expect(await call(['mount', 'a', 't'], { answer })).toMatchObject(BY_PROGRAM)
    })
  })

  test('the launcher prints what the answer says', async () => {
    await inDirect(async ({ folder, call }) => {
      const target = `${join(folder, 't')}/`
      const answer = `77\nWarning: not yours\n${target}\nfirst\nWarning: second\n`
      const said = process.getuid?.() === 0 ? '' : 'Warning: not yours\n'
      if (said !== '') chmodSync(target, 0o555)
      expect(await call(['mount', 'a', 't'], { answer })).toEqual(
        expect.objectContaining({ status: 0, stdout: '', stderr: `${said}first\nWarning: second\n` }),
      )
    })
  })

  test('the Node gets the environment of a daemon, and of the descriptors the numbers of those from 10 on', async () => {
    await inDirect(async ({ call, seen }) => {
      const env = {
        NODE_OPTIONS: '--no-deprecation',
        NODE_DEBUG: 'x',
        LD_LIBRARY_PATH: '/nowhere',
        NAPI_RS_NATIVE_LIBRARY_PATH: '/x',
        SECRET: "a'b\nexport PATH='x'\nc",
        TZ: 'UTC',
        LC_TIME: 'C',
        XDG_RUNTIME_DIR: '/run/x y',
        ATOMFS_CODECS: 'portable',
        FUSE_OVERLAYFS_X: '',
        JOURNAL_STREAM: '1:2',
        FUSERMOUNT_PROG: '/x',
      }
      const before = 'exec 5>&1 8</dev/null'
      expect(await call(['mount', 'a', 't'], { env, before })).toMatchObject(DONE)
      const names = seen('env')!.map((line) => line.split('=')[0]!)
      const shells = ['PWD', 'OLDPWD', 'SHLVL', '_']
      const wanted = Object.keys(daemonEnvironment({ ...process.env, LC_ALL: 'C', ...env }))
      // A line of a value may look as if it were a variable: then that one is missing, and the daemon does without it.
      expect(names.filter((name) => !shells.includes(name) && !wanted.includes(name))).toEqual([])
      expect(wanted.filter((name) => !names.includes(name) && name !== 'PATH')).toEqual([])
      const ofC = Object.entries(daemonEnvironment({})).map(([name, value]) => `${name}=${value}`)
      expect(seen('env')).toEqual(expect.arrayContaining(ofC))
      expect(
        seen('fds')!
          .map(Number)
          .filter((fd) => fd > 3 && fd < 10),
      ).toEqual([])
    })
  })
})
