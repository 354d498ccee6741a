import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  atomfsFuse,
  needs,
  type RunResult,
  run,
  titled,
  withAtomfs,
  withTarget,
  withTempDir,
} from '../library/index.ts'
import { ID_RANGE, inNamespace } from '../library/scenes/namespaces.ts'
import { type StoredChunk, seekable, stored } from '../puzzlefs/support/chunks.ts'
import { writePuzzleLayout } from '../puzzlefs/support/layout.ts'
import { buildRootfs, type InodeDefinition, TAGS } from '../puzzlefs/support/rootfs-builder.ts'

const need = needs('fuse')
const needRoot = needs('root', 'fuse')
const needNamespace = needs('root', 'fuse', 'userns', 'nsenter', 'unshare')

const LARGE = Buffer.concat([Buffer.from('text '.repeat(30_000)), randomBytes(50_000)])
const HELLO = stored(Buffer.from('hello\n'))
const PACKED = stored(seekable(LARGE))
const OTHER = stored(randomBytes(30_000))
const CHUNKS = [HELLO, PACKED, OTHER]

const whole = ({ digest }: StoredChunk, length: number, compressed = false) => [
  { digest, length, compressed },
]
const directory = (ino: number, entries: InodeDefinition['entries']): InodeDefinition => ({
  ino,
  tag: TAGS.dir,
  permissions: 0o755,
  entries: entries ?? [],
})

/** The tree of a small container, and what only this format has. */
const INODES: readonly InodeDefinition[] = [
  directory(1, [
    ['etc', 2],
    ['dev', 3],
    ['gone', 9],
    ['large', 4],
    ['other', 5],
    ['.wh.data', 6],
  ]),
  directory(2, [
    ['passwd', 6],
    ['link', 7],
  ]),
  directory(3, [['zero', 8]]),
  { ino: 4, tag: TAGS.file, chunks: whole(PACKED, LARGE.length, true) },
  { ino: 5, tag: TAGS.file, chunks: whole(OTHER, 30_000), xattrs: [['user.from', 'image']] },
  { ino: 6, tag: TAGS.file, chunks: whole(HELLO, 6) },
  { ino: 7, tag: TAGS.lnk, permissions: 0o777, target: 'passwd' },
  { ino: 8, tag: TAGS.chr, device: [1, 5], permissions: 0o666 },
  { ino: 9, tag: TAGS.wht },
]
const TABLE = [...CHUNKS]
  .sort((a, b) => Buffer.compare(a.digest, b.digest))
  .map(({ digest, verity }) => [digest, verity] as const)
const ROOTFS = buildRootfs({ layers: [INODES], chunks: TABLE, segmentation: 'double far' })

/** @returns the fs-verity digest of its manifest */
function writeImage(ociDir: string, tag = 'c1'): string {
  return writePuzzleLayout(ociDir, [{ tag, rootfs: ROOTFS, chunks: CHUNKS }])[0]!
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const blobOf = (ociDir: string, { hex }: StoredChunk): string => join(ociDir, 'blobs/sha256', hex)

function flip(file: string, at: number): void {
  const bytes = readFileSync(file)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  writeFileSync(file, bytes)
}

const LENIENT = { allowFailure: true } as const

describe('a mount of a PuzzleFS image', () => {
  test.skipIf(!need.ok)(
    titled('shows its files by any thread, with devices, hard links and extended attributes', need),
    async () => {
      await withTempDir(async (temp) => {
        writeImage(join(temp, 'oci'))
        for (const threads of ['threads=0', 'threads=2']) {
          await withAtomfs(
            temp,
            `${temp}/oci:c1`,
            async ({ target }) => {
              // The server of a mount in this process would wait for itself: everything is asked by another one.
              const { stdout } = await run('sh', [
                '-c',
                `cd "$0" && sha256sum large other etc/link && find . | sort`,
                target,
              ])
              expect(stdout.split('\n').slice(0, 3)).toEqual([
                `${sha256(LARGE)}  large`,
                `${OTHER.hex}  other`,
                `${HELLO.hex}  etc/link`,
              ])
              expect(stdout.split('\n').slice(3, -1)).toEqual([
                '.',
                './.wh.data',
                './dev',
                './dev/zero',
                './etc',
                './etc/link',
                './etc/passwd',
                './large',
                './other',
              ])
              expect(lstatSync(join(target, 'dev/zero'))).toMatchObject({ rdev: 0x105, mode: 0o020666 })
              expect(statSync(join(target, 'etc/passwd'))).toMatchObject({ nlink: 2, size: 6, mtimeMs: 0 })
              expect(readlinkSync(join(target, 'etc/link'))).toBe('passwd')
              const { stdout: value } = await run('getfattr', [
                '--only-values',
                '-n',
                'user.from',
                join(target, 'other'),
              ])
              expect(value).toBe('image')
            },
            ['-o', threads],
          )
        }
      })
    },
  )

  test.skipIf(!need.ok)(
    titled(
      'of which a chunk is damaged or missing gives EIO for its files alone, and verify names them',
      need,
    ),
    async () => {
      await withTempDir(async (temp) => {
        const ociDir = join(temp, 'oci')
        writeImage(ociDir)
        expect(await atomfsFuse(['verify', `${ociDir}:c1`])).toMatchObject({
          status: 0,
          stdout: expect.stringMatching(/: OK\n/),
        })
        flip(blobOf(ociDir, PACKED), 20_000)
        rmSync(blobOf(ociDir, OTHER))
        await withAtomfs(temp, `${ociDir}:c1`, async ({ target, runDir }) => {
          const read = (name: string): Promise<RunResult> => run('cat', [join(target, name)], LENIENT)
          expect(await read('large')).toMatchObject({ status: 1, stdout: '' })
          expect(await read('other')).toMatchObject({
            status: 1,
            stderr: expect.stringMatching(/Input\/output error/),
          })
          expect(await read('etc/passwd')).toMatchObject({ status: 0, stdout: 'hello\n' })
          const { stdout } = await atomfsFuse(['status', '--json', target], { runDir })
          expect(JSON.parse(stdout).layers).toMatchObject([{ state: 'failed' }])
        })
        const verdict = await atomfsFuse(['verify', `${ociDir}:c1`], LENIENT)
        expect(verdict.status).toBe(1)
        expect(verdict.stdout).toContain('2 of 3 blobs are damaged')
        expect(verdict.stdout.match(/damaged file: .*/g)).toEqual([
          'damaged file: /large',
          'damaged file: /other',
        ])
      })
    },
  )

  test.skipIf(!need.ok)(titled('sees a chunk that changes between two reads', need), async () => {
    await withTempDir(async (temp) => {
      const ociDir = join(temp, 'oci')
      writeImage(ociDir)
      await withAtomfs(temp, `${ociDir}:c1`, async ({ target }) => {
        const read = (): Promise<RunResult> =>
          run(
            'dd',
            [`if=${join(target, 'other')}`, 'iflag=direct', 'bs=4096', 'count=1', 'of=/dev/null'],
            LENIENT,
          )
        expect(await read()).toMatchObject({ status: 0 })
        flip(blobOf(ociDir, OTHER), 1)
        // What is decoded stays right; what is read again does not pass.
        const all = await run('cat', [join(target, 'other')], LENIENT)
        expect(all.status === 0 ? sha256(all.bytes) : 'EIO').toMatch(new RegExp(`^(${OTHER.hex}|EIO)$`))
      })
    })
  })

  test.skipIf(!need.ok)(
    titled('is refused where manifest, metadata or the given digest are not what they must be', need),
    async () => {
      await withTempDir(async (temp) => {
        const ociDir = join(temp, 'oci')
        const digest = writeImage(ociDir)
        mkdirSync(join(temp, 'mnt'))
        const mount = (...args: readonly string[]): Promise<RunResult> =>
          atomfsFuse(['mount', ...args, `${ociDir}:c1`, join(temp, 'mnt')], {
            ...LENIENT,
            runDir: join(temp, 'run'),
          })
        expect((await mount('--root-hash', 'ab'.repeat(32))).stderr).toMatch(
          /^Error: .*manifest sha256:\w+: its fs-verity digest is \w{64}, expected (ab){32}\n$/,
        )
        expect((await mount('--root-hash', 'ab'.repeat(20))).stderr).toMatch(
          /its fs-verity digest has 64 hex digits/,
        )
        await withAtomfs(temp, `${ociDir}:c1`, () => undefined, ['--root-hash', digest.toUpperCase()])
        flip(join(ociDir, 'blobs/sha256', stored(ROOTFS).hex), 100)
        expect((await mount()).stderr).toMatch(
          /^Error: .*its sha256 is \w{64}, expected \w{64}: the blob is damaged\n$/,
        )
        expect(await atomfsFuse(['verify', `${ociDir}:c1`], LENIENT)).toMatchObject({
          status: 1,
          stdout: expect.stringMatching(/CORRUPTION FOUND/),
        })
        writePuzzleLayout(ociDir, [
          {
            tag: 'c1',
            rootfs: ROOTFS,
            chunks: CHUNKS,
            rootfsType: 'application/vnd.puzzlefs.image.rootfs.v2',
          },
        ])
        expect((await mount()).stderr).toMatch(/is a PuzzleFS image of another version/)
        const [plain] = writePuzzleLayout(ociDir, [
          { tag: 'c1', rootfs: ROOTFS, chunks: CHUNKS, withoutAnnotation: true },
        ])
        expect((await mount('--root-hash', plain!)).stderr).toMatch(
          /the manifest has no fs-verity digest of it/,
        )
        writeFileSync(join(ociDir, 'index.json'), '{"schemaVersion":-1,"manifests":[],"annotations":{}}')
        expect((await mount()).stderr).toMatch(/a PuzzleFS layout of version 2, expected 3/)
        expect(readdirSync(join(temp, 'mnt'))).toEqual([])
      })
    },
  )
})

/** What lxc-oci and its hook run. $1 is the container's folder. */
const CREATE = `
puzzlefs mount --persist "$1/upper" "$1/oci:c1" "$1/rootfs"
echo c1 > "$1/rootfs/etc/hostname"
printf '127.0.0.1   localhost\\n127.0.1.1   c1\\n' > "$1/rootfs/etc/hosts"
cat "$1/rootfs/etc/passwd"
puzzlefs umount "$1/rootfs"
ls -A "$1/rootfs"`
const HOOK = `
export LXC_ROOTFS_PATH="$1/rootfs" LXC_NAME=c1
env -i "PATH=$PATH" "ATOMFS_TEST_RUN_DIR=$ATOMFS_TEST_RUN_DIR" LXC_ROOTFS_PATH="$1/rootfs" LXC_NAME=c1 sh -ec '
  puzzlefs mount --persist "$1/upper" \${LXC_ROOTFS_PATH}/../oci:\${LXC_NAME} \${LXC_ROOTFS_PATH}' sh "$1"
cat "$1/rootfs/etc/hostname" "$1/rootfs/.wh.data"
stat -c '%F %t:%T' "$1/rootfs/dev/zero"
cd "$1" && puzzlefs umount rootfs/`

async function asLxc(
  place: string,
  inside: (script: string, ...args: readonly string[]) => Promise<RunResult>,
): Promise<void> {
  const bin = `PATH=$1/bin:$PATH`
  expect(await inside(`${bin}${CREATE}`, place)).toMatchObject({ stdout: 'hello\n', stderr: '' })
  expect(readdirSync(join(place, 'upper/etc')).sort()).toEqual(['hostname', 'hosts'])
  expect(await inside(`${bin}${HOOK}`, place)).toMatchObject({
    stdout: 'c1\nhello\ncharacter special file 1:5\n',
    stderr: '',
  })
}

/** As skopeo leaves it: the blobs lie in a cache that containers share. */
function makeContainer(place: string): void {
  writeImage(join(place, 'oci'))
  for (const path of ['cache', 'rootfs', 'bin']) mkdirSync(join(place, path))
  renameSync(join(place, 'oci/blobs/sha256'), join(place, 'cache/sha256'))
  symlinkSync(join(place, 'cache/sha256'), join(place, 'oci/blobs/sha256'))
  symlinkSync(ATOMFS_FUSE, join(place, 'bin/puzzlefs'))
}

describe('the name puzzlefs', () => {
  test.skipIf(!needRoot.ok)(
    titled('has the calls of lxc-oci and of its hook, as root', needRoot),
    async () => {
      await withTempDir(async (temp) => {
        makeContainer(temp)
        const env = { ATOMFS_TEST_RUN_DIR: join(temp, 'run') }
        await asLxc(temp, (script, ...args) =>
          run('unshare', ['-m', '--propagation', 'private', 'sh', '-ec', script, 'sh', ...args], { env }),
        )
      })
    },
  )

  test.skipIf(!needNamespace.ok)(titled('has them as root of a user namespace', needNamespace), async () => {
    await inNamespace(ID_RANGE, async ({ folder: place, inside }) => {
      makeContainer(place)
      await run('chown', ['-hR', `${ID_RANGE.first}:${ID_RANGE.first}`, place])
      await asLxc(place, inside)
    })
  })

  test.skipIf(!need.ok)(
    titled('mounts, tells its FIFO, extracts, and says in one line why it does not', need),
    async () => {
      await withTempDir(async (temp) => {
        const ociDir = join(temp, 'oci')
        const digest = writeImage(ociDir)
        const program = join(temp, 'puzzlefs')
        symlinkSync(ATOMFS_FUSE, program)
        const env = { ATOMFS_TEST_RUN_DIR: join(temp, 'run') }
        const puzzlefs = (...args: readonly string[]): Promise<RunResult> =>
          run(program, args, { ...LENIENT, env, cwd: temp })
        await withTarget(temp, async (target) => {
          expect(await puzzlefs('mount', '-d', digest, 'oci:c1', target)).toMatchObject({
            status: 0,
            stderr: '',
          })
          expect((await run('cat', [join(target, 'etc/passwd')])).stdout).toBe('hello\n')
          expect(await puzzlefs('umount', target)).toMatchObject({ status: 0, stderr: '' })

          expect(await puzzlefs('mount', '-w', 'oci:c1', target)).toMatchObject({ status: 0, stderr: '' })
          await run('sh', ['-c', 'echo new > "$0/etc/new"; rm "$0/large"', target])
          expect(await puzzlefs('umount', target)).toMatchObject({ status: 0, stderr: '' })
          expect(readFileSync(join(target, 'upper/etc/new'), 'utf8')).toBe('new\n')
          expect(await puzzlefs('mount', '--writable', 'oci:c1', target)).toMatchObject({
            status: 0,
            stderr: '',
          })
          expect((await run('ls', [join(target), join(target, 'etc')])).stdout).not.toMatch(/large|upper/)
          expect(await puzzlefs('mount', '-w', 'oci:c1', target)).toMatchObject({
            status: 1,
            stderr: expect.stringMatching(/is mounted already/),
          })
          expect(await puzzlefs('umount', target)).toMatchObject({ status: 0, stderr: '' })
          for (const name of ['upper', 'work']) rmSync(join(target, name), { recursive: true })
        })
        mkdirSync(join(temp, 'mnt'))
        await run('mkfifo', [join(temp, 'fifo')])
        for (const words of [['oci:nope'], ['-d', 'zz', 'oci:c1']]) {
          const [served, told] = await Promise.all([
            puzzlefs('mount', '-f', '-i', join(temp, 'fifo'), ...words, 'mnt'),
            run('cat', [join(temp, 'fifo')]),
          ])
          expect([served.status, told.stdout]).toEqual([1, 'f'])
        }
        for (const words of [
          ['mount', 'oci:nope', 'mnt'],
          ['mount', 'nowhere:c1', 'mnt'],
          ['mount', 'oci:c1', 'nowhere'],
          ['mount', '-d', 'zz', 'oci:c1', 'mnt'],
          ['mount', '-d', 'ab'.repeat(20), 'oci:c1', 'mnt'],
          ['mount', '-f', '-i', 'oci/index.json', 'oci:c1', 'mnt'],
          ['mount', '-f', '-i', 'nowhere', 'oci:c1', 'mnt'],
          ['build', 'nowhere', 'oci:new'],
          ['build', '-b', 'nope', 'oci', 'oci:new'],
          ['extract', 'oci:nope', 'tree'],
          ['enable-fs-verity', 'oci:c1', 'zz'],
          ['mount', '-d', 'ab'.repeat(32), 'oci:c1', 'mnt'],
          ['mount', '-o', 'frobnicate', 'oci:c1', 'mnt'],
          ['mount', '-p', 'oci/index.json', 'oci:c1', 'mnt'],
          ['umount', 'mnt'],
          ['enable-fs-verity', 'oci:c1', 'ab'.repeat(32)],
        ]) {
          const { status, stdout, stderr } = await puzzlefs(...words)
          expect([words, status, stdout]).toEqual([words, 1, ''])
          expect(stderr).toMatch(/^Error: [^\n]+\n$/)
        }
        expect((await puzzlefs('frobnicate')).status).toBe(2)
        expect((await puzzlefs('mount', '-f', '-w', 'oci:c1', 'mnt')).status).toBe(2)
        expect(await puzzlefs('-V')).toMatchObject({
          status: 0,
          stdout: expect.stringMatching(/^puzzlefs 0.2.0 \(atomfs-fuse /),
        })
        expect(await puzzlefs('enable-fs-verity', 'oci:c1', digest)).toMatchObject({
          status: 0,
          stdout: expect.stringMatching(/of 5 files|all 5 files/),
        })
        expect(await puzzlefs('extract', 'oci:c1', 'tree')).toMatchObject({
          status: 0,
          stderr: expect.anything(),
        })
        expect(sha256(readFileSync(join(temp, 'tree/large')))).toBe(sha256(LARGE))
        expect(existsSync(join(temp, 'tree/gone'))).toBe(false)
      })
    },
  )
})
