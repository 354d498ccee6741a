import { spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encryptByGocryptfs, gocryptfsFolder } from '../library/images/gocryptfs.ts'
import {
  ATOMFS_FUSE,
  daemonPid,
  isMounted,
  makeTempDir,
  needs,
  type RunResult,
  removeTempDir,
  run,
  titled,
  unmount,
  withTempDir,
} from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import {
  type ApptainerImage,
  type Call,
  type CallerName,
  callOf,
  makeApptainerImage,
  makePlace,
  needsNamespaces,
  OFFSET,
  OWNERS,
  play,
} from '../library/scenes/apptainer.ts'
import { THE_USER } from '../library/scenes/apptainer-rows.ts'
import { entries, inScene } from '../library/scenes/life.ts'

/** The name gocryptfs beside the program of that name, and as Apptainer calls it between two of squashfuse. */

const need = needs('root', 'fuse', 'gocryptfs', 'mksquashfs', 'mke2fs', 'perl', 'setpriv')
const PASSWORD = 'correct horse'
const nobody = 65_534

let temp = ''
let links = ''
/** What gocryptfs has made of the folder `plain`. */
let cipher = ''
let images: ApptainerImage
let apptainerSif = ''
beforeAll(async () => {
  temp = makeTempDir()
  chmodSync(temp, 0o755)
  if (!need.ok) return
  images = await makeApptainerImage(join(temp, 'images'))
  links = images.links
  const outer = await encryptByGocryptfs(images.image, join(temp, 'outer'), PASSWORD)
  apptainerSif = join(temp, 'encrypted.sif')
  writeFileSync(apptainerSif, Buffer.concat([Buffer.alloc(OFFSET, 's'), readFileSync(outer)]))
  const plain = join(temp, 'plain')
  mkdirSync(join(plain, 'sub/deeper'), { recursive: true })
  writeFileSync(join(plain, 'empty'), '')
  writeFileSync(join(plain, 'one block'), Buffer.alloc(4096, 1))
  writeFileSync(join(plain, 'sub/text'), 'line\n'.repeat(200_000), { mode: 0o640 })
  chownSync(join(plain, 'sub/text'), 5, 6)
  writeFileSync(join(plain, 'sub/deeper/.wh.x'), 'no mark\n')
  writeFileSync(Buffer.concat([Buffer.from(`${plain}/sub/`), Buffer.from([0xff, 0xfe])]), 'name of bytes')
  symlinkSync('sub/../nowhere', join(plain, 'link'))
  await run('mkfifo', [join(plain, 'fifo')])
  await run('truncate', ['-s', '3M', join(plain, 'hole')])
  cipher = await gocryptfsFolder(plain, join(temp, 'work'), PASSWORD)
})
afterAll(() => removeTempDir(temp))

/** Calls a program of the name, with a password on standard input. */
async function call(
  program: string,
  words: readonly string[],
  runDir: string,
  input = `${PASSWORD}\n`,
): Promise<Pick<RunResult, 'status' | 'stdout' | 'stderr'>> {
  const { status, stdout, stderr } = await run(
    'sh',
    ['-c', 'printf %s "$0" | { "$@"; }', input, program, ...words],
    {
      env: { ATOMFS_TEST_RUN_DIR: runDir },
      allowFailure: true,
    },
  )
  return { status, stdout, stderr }
}

/** Attributes and contents of all that is there, without what the two programs have of their own. */
async function treeOf(folder: string): Promise<string> {
  const script = `cd "$0" && find . -printf '%p %y %m %U %G %T@ %l\\n' | LC_ALL=C sort &&
    find . -type f -exec stat -c '%n %s' {} + | LC_ALL=C sort && find . -type f -exec sha256sum {} + | LC_ALL=C sort`
  return (await run('sh', ['-c', script, folder])).stdout
}

describe.skipIf(!need.ok)(titled('the name gocryptfs', need), () => {
  test('shows what the program of that name shows, in the background and in the foreground', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      const [original, ours] = [join(folder, 'original'), join(links, 'gocryptfs')]
      mkdirSync(original)
      await call('gocryptfs', ['-q', '-ro', cipher, original], runDir)
      try {
        expect(await call(ours, ['-ro', cipher, target], runDir)).toEqual({
          status: 0,
          stdout: '',
          stderr: '',
        })
        const shown = await treeOf(target)
        expect(shown).toBe(await treeOf(original))
        expect(shown.split('\n').length).toBeGreaterThan(20)
        expect(readdirSync(target)).not.toContain('gocryptfs.conf')
      } finally {
        await unmount(original)
        await unmount(target)
      }
      await until(() => entries(runDir).length === 0, 'the end of the daemon')
      const child = spawn(ours, ['-fg', '-ro', '-idle', '1s', cipher, target], {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...process.env, ATOMFS_TEST_RUN_DIR: runDir },
      })
      // The rest is not part of the password.
      child.stdin.end(`${PASSWORD}\nrest`)
      let output = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text))
      const ended = new Promise((resolve) => child.once('close', resolve))
      await until(() => isMounted(target), 'the mount')
      expect(await ended).toBe(0)
      expect(output).toBe('')
    })
  })

  test('takes the password from files and from programs', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      const [first, second] = [join(folder, 'first'), join(folder, 'second')]
      writeFileSync(first, 'correct\nnot this')
      writeFileSync(second, ' horse')
      const ours = join(links, 'gocryptfs')
      for (const words of [
        ['-passfile', first, `-passfile=${second}`],
        ['-extpass', 'printf correct\\040horse\\nrest'],
        ['--extpass=echo', '-extpass', PASSWORD],
      ]) {
        expect(await call(ours, ['-ro', ...words, cipher, target], runDir, '')).toMatchObject({
          status: 0,
          stderr: '',
        })
        expect(readFileSync(join(target, 'sub/deeper/.wh.x'), 'utf8')).toBe('no mark\n')
        await unmount(target)
      }
    })
  })

  test('fails with the exit codes of that program, and with one line', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      const unlike = join(folder, 'unlike')
      mkdirSync(unlike)
      writeFileSync(join(unlike, 'gocryptfs.conf'), '{')
      const none = join(folder, 'none')
      for (const [words, code, message] of [
        [['-ro', cipher, none], 10, /none: is no directory/],
        [['-ro', none, target], 6, /none: is no directory/],
        [['-ro', target, target], 23, /is no gocryptfs directory: it has no file gocryptfs.conf/],
        [['-ro', '-passfile', none, cipher, target], 9, /-passfile .*none: ENOENT/],
        [['-ro', '-extpass', 'false', cipher, target], 9, /-extpass false: ended with status 1/],
        [['-ro', '-extpass', 'echo wrong', cipher, target], 12, /the passphrase or key is wrong/],
        [['-nonsense', cipher, target], 1, /option -nonsense/],
        [['-ro', cipher], 1, /got 1 words/],
      ] as const) {
        const { status, stdout, stderr } = await call(join(links, 'gocryptfs'), words, runDir)
        expect({ words, status, stdout }).toEqual({ words, status: code, stdout: '' })
        expect(stderr).toMatch(message)
        expect(stderr).toMatch(/^Error: [^\n]+\n$/)
        // Its place for a mount point that shadows the directory differs.
        if (words[1] === target) continue
        const original = await call('gocryptfs', ['-q', ...words], runDir)
        expect({ words, status: original.status }).toEqual({ words, status: code })
      }
      const empty = await call(join(links, 'gocryptfs'), ['-ro', cipher, target], runDir, '\n')
      expect(empty).toMatchObject({ status: 9, stderr: 'Error: the password from standard input is empty\n' })
      expect(await call(join(links, 'gocryptfs'), ['-ro', unlike, target], runDir)).toMatchObject({
        status: 6,
        stderr: expect.stringMatching(/has no encrypted file with content/),
      })
      writeFileSync(join(unlike, 'file'), readFileSync(join(cipher, 'sub/text')))
      expect(await call(join(links, 'gocryptfs'), ['-ro', unlike, target], runDir)).toMatchObject({
        status: 8,
        stderr: expect.stringMatching(/gocryptfs.conf: not valid JSON\n$/),
      })
      expect(entries(runDir)).toEqual([])
    })
  })

  test('replaces the mount of a process that was killed', async () => {
    await inScene(async ({ target, runDir }) => {
      const words = ['-ro', cipher, target]
      expect(await call(join(links, 'gocryptfs'), words, runDir)).toMatchObject({ status: 0 })
      const pid = daemonPid(runDir)
      process.kill(pid, 'SIGKILL')
      await until(() => isGone(pid), 'the end of the daemon')
      expect(() => readdirSync(target)).toThrow()
      expect(await call(join(links, 'gocryptfs'), words, runDir)).toMatchObject({ status: 0, stderr: '' })
      expect(readdirSync(target)).toContain('empty')
    })
  })

  test('what would write is refused in one line', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      // As Apptainer does to encrypt an image.
      const init = ['-init', '-deterministic-names', '-plaintextnames', join(folder, 'mnt')]
      const twice = `${PASSWORD}\n${PASSWORD}\n`
      expect(await call(join(links, 'gocryptfs'), init, runDir, twice)).toEqual({
        status: 7,
        stdout: '',
        stderr: 'Error: this gocryptfs only reads: -init needs the program of gocryptfs itself\n',
      })
      expect(await call(join(links, 'gocryptfs'), ['-fg', cipher, target], runDir)).toEqual({
        status: 1,
        stdout: '',
        stderr: `Error: ${cipher} can be written, and this gocryptfs only reads: give -ro\n`,
      })
      expect(readdirSync(target)).toEqual([])
    })
  })

  test('of a folder that a stranger prepared each wrong file is an error of its own', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      const strange = join(folder, 'strange')
      await run('cp', ['-a', cipher, strange])
      writeFileSync(join(strange, 'readme'), 'was never encrypted\n'.repeat(10))
      writeFileSync(join(strange, 'short'), 'x')
      const bytes = readFileSync(join(strange, 'sub/text'))
      bytes[300_000]! ^= 1
      writeFileSync(join(strange, 'sub/text'), bytes)
      // The blocks of one file, under the name of another.
      const other = readFileSync(join(strange, 'one block'))
      bytes.copy(other, 18, 18, other.length)
      writeFileSync(join(strange, 'one block'), other)
      symlinkSync('/etc/shadow', join(strange, 'squashfs-1'))
      symlinkSync(folder, join(strange, 'folder'))
      expect(await call(join(links, 'gocryptfs'), ['-ro', strange, target], runDir)).toMatchObject({
        status: 0,
      })
      for (const name of ['readme', 'one block', 'sub/text']) {
        expect(() => readFileSync(join(target, name)), name).toThrow(/EIO/)
      }
      expect(readFileSync(join(target, 'sub/deeper/.wh.x'), 'utf8')).toBe('no mark\n')
      expect(readFileSync(join(target, 'hole')).every((byte) => byte === 0)).toBe(true)
      await unmount(target)
      // The configuration itself may not lead elsewhere.
      await run('mv', [join(strange, 'gocryptfs.conf'), join(folder, 'elsewhere.conf')])
      symlinkSync(join(folder, 'elsewhere.conf'), join(strange, 'gocryptfs.conf'))
      expect(await call(join(links, 'gocryptfs'), ['-ro', strange, target], runDir)).toMatchObject({
        status: 23,
        stderr: expect.stringMatching(/^Error: [^\n]*ELOOP of gocryptfs.conf\n$/),
      })
    })
  })

  test('a plain user reads what he may, and gets EACCES for the rest', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      chmodSync(folder, 0o755)
      mkdirSync(runDir)
      for (const path of [folder, target, runDir]) chownSync(path, nobody, nobody)
      const own = join(folder, 'own')
      await run('cp', ['-a', cipher, own])
      await run('chmod', ['-R', 'a+rX', own])
      chmodSync(join(own, 'one block'), 0o600)
      const setpriv = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups']
      const [program = '', ...words] = [...setpriv, join(links, 'gocryptfs')]
      expect(await call(program, [...words, cipher, target], runDir)).toMatchObject({ status: 23 })
      expect(await call(program, [...words, own, target], runDir)).toMatchObject({ status: 0, stderr: '' })
      const shown = await run(
        'setpriv',
        [...setpriv.slice(1), 'sh', '-c', 'cat "$0/sub/deeper/.wh.x"; cat "$0/one block"', target],
        { allowFailure: true },
      )
      expect(shown.stdout).toBe('no mark\n')
      expect(shown.stderr).toMatch(/one block.*Permission denied/)
      await unmount(target)
    })
  })

  test('shows more files than a process may have open without asking for more, and a bounded number', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      const many = join(folder, 'many')
      await run('cp', ['-a', cipher, many])
      const encrypted = readFileSync(join(cipher, 'sub/deeper/.wh.x'))
      const add = (from: number, to: number): void => {
        for (let i = from; i < to; i++) writeFileSync(join(many, `file-${i}`), encrypted)
      }
      add(0, 300)
      const limited = ['-c', 'ulimit -Sn 200 && exec "$@"', 'sh', join(links, 'gocryptfs')]
      expect(await call('sh', [...limited, '-ro', many, target], runDir)).toMatchObject({
        status: 0,
        stderr: '',
      })
      expect(readFileSync(join(target, 'file-299'), 'utf8')).toBe('no mark\n')
      await unmount(target)
      add(300, 1000)
      expect(await call(join(links, 'gocryptfs'), ['-ro', many, target], runDir)).toMatchObject({
        status: 8,
        stderr: `Error: ${many}: more than 1000 files in a gocryptfs directory cannot be shown\n`,
      })
    })
  })

  test('is a source of mount, ls and cat by its prefix', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      const key = join(folder, 'key')
      writeFileSync(key, PASSWORD)
      const source = `gocryptfs:${cipher}`
      expect((await atomfs('ls', '--passphrase-file', key, source)).stdout).toBe(
        'empty\nfifo\nhole\nlink\none block\nsub\n',
      )
      expect((await atomfs('cat', '--passphrase-file', key, source, 'sub/deeper/.wh.x')).stdout).toBe(
        'no mark\n',
      )
      expect(await atomfs('mount', '--passphrase-file', key, source, target)).toMatchObject({
        status: 0,
        stderr: '',
      })
      expect(readFileSync(join(target, 'one block')).equals(Buffer.alloc(4096, 1))).toBe(true)
      expect(await atomfs('ls', source)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/is encrypted \(gocryptfs\), and its key is needed/),
      })
      expect((await atomfs('inspect', source)).stdout).toContain('gocryptfs, aes-gcm with a key of 256 bits')
    })
  })
})

/** The three programs, one above the other (apptainer: container_linux.go, gocryptfsMount; sif.md 3.2). */
const STACKS: Readonly<Record<string, readonly string[]>> = {
  '1.2': [
    'squashfuse_ll -f -o uid=$U,gid=$U,offset=$N /proc/self/fd/3 $S/gocryptfs/cipher',
    'gocryptfs -fg $S/gocryptfs/cipher $S/gocryptfs/plain',
    'squashfuse_ll -f -o uid=$U,gid=$U $S/gocryptfs/plain/squashfs-123 $T',
  ],
  '1.3.0': [
    'squashfuse_ll -f -o allow_other,ro,uid=$U,gid=$U,offset=$N /proc/self/fd/3 $S/gocryptfs/cipher',
    'gocryptfs -fg $S/gocryptfs/cipher $S/gocryptfs/plain',
    'squashfuse_ll -f -o allow_other,ro,uid=$U,gid=$U $S/gocryptfs/plain/squashfs-123 $T',
  ],
  '1.3.0, setuid': [
    'squashfuse_ll -f -o allow_other,ro,uid=$U,gid=$U,offset=$N /proc/self/fd/3 /dev/fd/4',
    'gocryptfs -fg $S/gocryptfs/cipher /dev/fd/3',
    'squashfuse_ll -f -o allow_other,ro,uid=$U,gid=$U $S/gocryptfs/plain/squashfs-123 /dev/fd/3',
  ],
}

const STRESS = process.env['ATOMFS_STRESS'] === '1'

type Row = readonly [since: string, by: CallerName, owner: string]
/** The others with ATOMFS_STRESS=1 only. */
const ALL_ROWS: readonly (readonly [isAlways: boolean, ...row: Row])[] = [
  [false, '1.2', 'a user namespace, until 1.2', THE_USER],
  [false, '1.2', 'root of a user namespace', '65534:65534'],
  [false, '1.3.0', 'a user namespace', THE_USER],
  [true, '1.3.0', 'root of a user namespace', '65534:65534'],
  [true, '1.3.0', 'a plain user with ambient capabilities', THE_USER],
  [true, '1.3.0', 'root', OWNERS],
  [true, '1.3.0, setuid', 'the setuid program', THE_USER],
  [false, '1.3.0, setuid', 'the setuid program, with ambient capabilities', THE_USER],
  [false, '1.3.0, setuid', 'root', OWNERS],
  [false, '1.2', 'root', OWNERS],
  [false, '1.2', 'a plain user with ambient capabilities', THE_USER],
  [false, '1.3.0, setuid', 'root of a user namespace', '65534:65534'],
  [false, '1.3.0, setuid', 'a plain user with ambient capabilities', THE_USER],
]
const ROWS = ALL_ROWS.flatMap(([isAlways, ...row]): Row[] => (isAlways || STRESS ? [row] : []))

describe.skipIf(!need.ok)(titled('an image that Apptainer encrypted without root', need), () => {
  test.each(ROWS)('is shown by the three programs as since %s by %s', async (since, by, owner) => {
    if (needsNamespaces(by) && !needs('userns-of-users').ok) return
    await withTempDir(async (folder) => {
      const place = makePlace(folder, by, images)
      const folders = ['gocryptfs/cipher', 'gocryptfs/plain', 'rootfs']
      const looks = ['gocryptfs.conf', 'squashfs-123', 'etc/motd']
      const calls = (STACKS[since] ?? []).map((line, i): Call => {
        const input = i === 1 ? { input: `${PASSWORD}\n` } : {}
        const at = { in: 'session-1', source: apptainerSif, target: folders[i] ?? '' }
        return callOf(line, place, { ...at, ...input, looksAt: looks[i] ?? '' })
      })
      const reports = await play(place, { calls, isStack: true })
      // Reported, not asserted: machines are busy.
      const times = reports.map(({ readyMs, endMs }) => `${readyMs.toFixed(0)} and ${endMs.toFixed(0)} ms`)
      console.log(`ready and end of the three, ${since}, ${by}: ${times.join(', ')}`)
      const shown = reports.map(({ exit, stdout, stderr, seen }) => [exit, stdout, stderr, seen?.canWrite])
      expect(shown).toEqual([0, 1, 2].map(() => [0, '', '', false]))
      expect(reports[0]?.seen?.text).toContain('"PlaintextNames"')
      expect(reports[2]?.seen).toMatchObject({ owner, text: 'hello\n' })
      expect(reports.map(({ group }) => group)).toEqual(reports.map(({ pid }) => pid))
      await until(() => entries(place.runDir).length === 0, 'the end of what is in the background')
    })
  })

  test('a wrong password is exit code 12 and one line, and the name is a link on request only', async () => {
    await inScene(async ({ folder, target, runDir, atomfs }) => {
      const [outer, plain] = [join(folder, 'outer'), join(folder, 'plain')]
      for (const path of [outer, plain]) mkdirSync(path)
      await run(ATOMFS_FUSE, ['mount', `--offset=${OFFSET}`, apptainerSif, outer], {
        env: { ATOMFS_TEST_RUN_DIR: runDir },
      })
      try {
        const { status, stdout, stderr } = await call(
          join(links, 'gocryptfs'),
          ['-fg', outer, plain],
          runDir,
          'x\n',
        )
        expect([status, stdout]).toEqual([12, ''])
        expect(stderr).toMatch(/^Error: [^\n]*the passphrase or key is wrong: it does not open the image\n$/)
      } finally {
        await unmount(outer)
      }
      expect((await atomfs('install-links', target)).stdout).not.toContain('gocryptfs')
      expect((await atomfs('install-links', '--apptainer', target)).stdout).toContain('/gocryptfs -> ')
    })
  })
})
