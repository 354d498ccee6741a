import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  addBusybox,
  daemonPid,
  isMounted,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries } from '../library/scenes/life.ts'

/** What container runtimes do to a mount namespace while a daemon lives in it. */

const ROUNDS = Number(process.env['ATOMFS_PIVOTS'] ?? 3)

const root = needs('root', 'unshare', 'busybox')
const traced = needs('root', 'unshare', 'strace')

let folder = ''
let image = ''

beforeAll(async () => {
  folder = makeTempDir()
  const tree = join(folder, 'tree')
  for (const path of ['mnt', 'proc', 'tmp', 'deep/er']) mkdirSync(join(tree, path), { recursive: true })
  writeFileSync(join(tree, 'deep/er/file'), Buffer.alloc(1_000_000, 'not held in memory\n'))
  if (root.ok) addBusybox(tree, 'ls', 'cat', 'mv', 'umount', 'wc')
  image = join(folder, 'image')
  await mksquashfs(tree, image)
})

afterAll(() => removeTempDir(folder))

/** Runs a shell script in a mount namespace of its own, with the launcher as $0, the image as $1, a new target as $2. */
async function inNamespace(script: string, options: { readonly runDir: string; readonly pids?: boolean }) {
  const target = mkdtempSync(join(folder, 'mnt-'))
  const pids = options.pids === true ? ['--pid', '--mount-proc'] : []
  const flags = ['-m', '--propagation', 'private', '--fork', '--kill-child', ...pids]
  return await run('unshare', [...flags, 'bash', '-c', script, ATOMFS_FUSE, image, target], {
    timeout: 60_000,
    allowFailure: true,
    env: { ATOMFS_TEST_RUN_DIR: options.runDir },
  })
}

/** Puts the two lines of a call together during which another thread made one. */
function wholeCalls(lines: readonly string[]): string[] {
  const begun = new Map<string, string>()
  return lines.flatMap((line) => {
    const thread = line.slice(0, line.indexOf(' '))
    const start = / <unfinished \.\.\.>$/.exec(line)
    if (start !== null) {
      begun.set(thread, line.slice(0, start.index))
      return []
    }
    const [resumed] = /<\.\.\. \w+ resumed>/.exec(line) ?? []
    if (resumed === undefined) return [line]
    return [`${begun.get(thread) ?? ''}${line.slice(line.indexOf(resumed) + resumed.length)}`]
  })
}

describe('a mount that becomes the root directory at once', () => {
  /** As lxc-start does: the daemon's own root directory becomes the mount that it serves. */
  const pivot = 'cd "$2" && mount -t proc proc proc && pivot_root . mnt && umount -l /mnt'

  test.skipIf(!root.ok)(
    titled('a mount that becomes the root directory serves files that were not read before', root),
    async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const runDir = mkdtempSync(join(folder, 'run-'))
        const work = 'exec /bin/sh -c "ls /deep/er; wc -c </deep/er/file"'
        const result = await inNamespace(`"$0" mount "$1" "$2" && ${pivot} && ${work}`, {
          runDir,
          pids: true,
        })
        expect(result).toMatchObject({ status: 0, stdout: 'file\n1000000\n', stderr: '' })
      }
    },
  )

  test.skipIf(!root.ok)(
    titled('a mount that becomes the root directory accepts all kinds of changes', root),
    async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const runDir = mkdtempSync(join(folder, 'run-'))
        const changes =
          'echo x >>/deep/er/file; mv /deep /tmp/moved; ls / /tmp/moved/er; wc -c </tmp/moved/er/file'
        const work = `exec /bin/sh -c "${changes}"`
        const script = `"$0" mount --writeable "$1" "$2" && ${pivot} && ${work}`
        const result = await inNamespace(script, { runDir, pids: true })
        const names = ['bin', 'mnt', 'proc', 'tmp', '', '/tmp/moved/er:', 'file', '1000002', '']
        expect(result).toMatchObject({ status: 0, stdout: ['/:', ...names].join('\n'), stderr: '' })
      }
    },
  )
})

describe('a mount that is the root directory of its namespace', () => {
  test.skipIf(!root.ok)(
    titled('a mount that is the root directory ends with its namespace and leaves nothing behind', root),
    async () => {
      const runDir = mkdtempSync(join(folder, 'run-'))
      const record = 'cat "$ATOMFS_TEST_RUN_DIR"/meta/*/*/daemon.json'
      const pivot = 'cd "$2" && mount -t proc proc proc && pivot_root . mnt'
      const work = 'exec /bin/sh -c "umount -l /mnt; echo x >/new"'
      const script = `"$0" mount --writeable "$1" "$2" && ${record} && ${pivot} && ${work}`
      const result = await inNamespace(script, { runDir })
      expect(result).toMatchObject({ status: 0, stderr: '' })
      const { pid } = (JSON.parse(result.stdout) as { process: { pid: number } }).process
      await until(() => isGone(pid), 'the end of the daemon')
      expect([...entries(runDir), ...readdirSync(join(runDir, 'changes'))]).toEqual([])
    },
  )
})

describe('a mount that another mount covers', () => {
  test.skipIf(!root.ok)(titled('a mount under another mount ends with its namespace', root), async () => {
    const runDir = mkdtempSync(join(folder, 'run-'))
    const script =
      '"$0" mount "$1" "$2" && cat "$ATOMFS_TEST_RUN_DIR"/meta/*/*/daemon.json && mount -t tmpfs t "$2"'
    const result = await inNamespace(script, { runDir })
    expect(result).toMatchObject({ status: 0, stderr: '' })
    const { pid } = (JSON.parse(result.stdout) as { process: { pid: number } }).process
    await until(() => isGone(pid), 'the end of the daemon')
    expect(entries(runDir)).toEqual([])
  })

  test.skipIf(!root.ok)(titled('a mount under another mount ends by one SIGTERM', root), async () => {
    const runDir = mkdtempSync(join(folder, 'run-'))
    const target = mkdtempSync(join(folder, 'mnt-'))
    const env = { ATOMFS_TEST_RUN_DIR: runDir }
    await run(ATOMFS_FUSE, ['mount', image, target], { env })
    const pid = daemonPid(runDir)
    await run('mount', ['-t', 'tmpfs', 'cover', target])
    try {
      process.kill(pid, 'SIGTERM')
      await until(() => isGone(pid), 'the end of the daemon')
      expect(entries(runDir)).toEqual([])
    } finally {
      await run('umount', [target])
      await run('umount', ['-l', target], { allowFailure: true })
    }
  })
})

describe('the daemon', () => {
  test.skipIf(!traced.ok)(
    titled('the daemon stays in the session of its caller until it has mounted', traced),
    async () => {
      const runDir = mkdtempSync(join(folder, 'run-'))
      const trace = join(folder, 'session.trace')
      const calls = ['-f', '-qq', '-e', 'trace=setsid,setpgid,mount', '-e', 'signal=none', '-o', trace]
      const inner = "sh -c '$0 mount -o server=own $1 $2 && umount $2'"
      const script = `strace ${calls.join(' ')} ${inner} "$0" "$1" "$2"`
      expect(await inNamespace(script, { runDir })).toMatchObject({ status: 0 })
      const made = readFileSync(trace, 'utf8')
        .split('\n')
        .map((line) => /\b(setsid|setpgid|mount)\(/.exec(line)?.[1])
        .filter((name) => name !== undefined)
      expect(made).toEqual(['mount', 'setsid'])
    },
  )

  test.skipIf(!traced.ok)(
    titled('the daemon resolves no absolute path after it is ready', traced),
    async () => {
      const directory = join(folder, 'lower')
      mkdirSync(join(directory, 'sub'), { recursive: true })
      writeFileSync(join(directory, 'sub/file'), 'of the host\n')
      const upper = mkdtempSync(join(folder, 'upper-'))
      const read =
        'ls -laR "$2" >/dev/null; find "$2" -type f -exec cat {} + >/dev/null; "$0" status "$2" >/dev/null'
      const change =
        'cd "$2"; echo x >new; find . -type f -exec sh -c \'echo y >>"$1"\' - {} \\; ; mkdir d; mv new d; rm -r d; cd /'
      const mounts = [
        ['"$0" mount "$1" "$2"', read],
        [`"$0" mount --upper ${upper} "$1" "$2"`, `${read}; ${change}; ${read}`],
        ['"$0" mount --writeable "$1" "$2"', `${read}; ${change}; ${read}`],
        [`"$0" overlay -o lowerdir=${directory}:$1 "$2"`, read],
      ] as const
      let seen = 0
      for (const [mount, use] of mounts) {
        const runDir = mkdtempSync(join(folder, 'run-'))
        const trace = join(folder, 'paths.trace')
        const script = join(folder, 'script.sh')
        // What follows "ready" is traced from then on: the daemon is attached to by its process id.
        const attach = `strace -f -qq -y -s 200 -e trace=%file,connect,bind,sendto,write -e signal=none -o ${trace} -p "$pid" &`
        const pid = 'pid=$(sed -E \'s/.*"pid":([0-9]+).*/\\1/\' "$ATOMFS_TEST_RUN_DIR"/meta/*/*/daemon.json)'
        const waited = `until grep -q . /proc/$pid/task/*/status && grep -q 'TracerPid:.[1-9]' /proc/$pid/status; do sleep 0.05; done`
        writeFileSync(
          script,
          [`set -e`, mount, pid, attach, waited, `set +e`, use, 'umount "$2"', 'wait'].join('\n'),
        )
        const result = await inNamespace(`. ${script}`, { runDir })
        expect(result).toMatchObject({ status: 0, stderr: '' })
        const lines = wholeCalls(readFileSync(trace, 'utf8').split('\n'))
        expect(lines.length).toBeGreaterThan(10)
        const absolute = lines.filter((line) =>
          /^\d+ +\w+\((?:AT_FDCWD(?:<[^>]*>)?, )?"\/|sun_path="\//.test(line),
        )
        // At the start of a thread Node looks into /proc and /sys: where that thread starts, there is neither.
        const byNode = /\w+\(.*"\/(proc|sys)\/.* = -1 ENOENT|getcwd/
        expect(absolute.filter((line) => !byNode.test(line))).toEqual([])
        seen += absolute.length
        expect(entries(runDir)).toEqual([])
      }
      // What Node itself does is found, so the pattern finds paths. Of a mount whose threads came early it is not traced.
      expect(seen).toBeGreaterThan(0)
    },
  )

  const signals = [
    'SIGQUIT',
    'SIGALRM',
    'SIGUSR2',
    'SIGVTALRM',
    'SIGXCPU',
    'SIGIO',
    'SIGPWR',
    'SIGABRT',
  ] as const
  test.each(signals)('the daemon ends with its mount on %s', async (signal) => {
    const runDir = mkdtempSync(join(folder, 'run-'))
    const target = mkdtempSync(join(folder, 'mnt-'))
    await run(ATOMFS_FUSE, ['mount', image, target], { env: { ATOMFS_TEST_RUN_DIR: runDir } })
    const pid = daemonPid(runDir)
    process.kill(pid, signal)
    await until(() => isGone(pid), `the end of the daemon after ${signal}`)
    expect(isMounted(target)).toBe(false)
    expect(entries(runDir)).toEqual([])
  })

  test('the daemon survives signals that do not ask it to end', async () => {
    const runDir = mkdtempSync(join(folder, 'run-'))
    const target = mkdtempSync(join(folder, 'mnt-'))
    const env = { ATOMFS_TEST_RUN_DIR: runDir }
    await run(ATOMFS_FUSE, ['mount', image, target], { env })
    try {
      const pid = daemonPid(runDir)
      for (const signal of ['XFSZ', 'PIPE', 'WINCH', '35', '64']) {
        await run('kill', ['-s', signal, String(pid)])
      }
      expect(readFileSync(join(target, 'deep/er/file')).length).toBe(1_000_000)
      expect(isGone(pid)).toBe(false)
    } finally {
      await run('umount', [target])
    }
  })
})
