import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { holdChanges } from '../../src/daemon/client/control-client.ts'
import {
  ATOMFS_FUSE,
  appendVerity,
  atomfsFuse,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  mksquashfs,
  needs,
  Random,
  removeTempDir,
  run,
  type TreeEntry,
  titled,
  walkInChild,
  walkTree,
  withAtomfs,
  withTempDir,
  writeOciLayout,
} from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import { inNamespace, SINGLE_ID } from '../library/scenes/namespaces.ts'

const need = needs('root', 'fuse', 'mksquashfs', 'unsquashfs', 'veritysetup', 'setfattr', 'mknod')
/** Milliseconds after the start of a command; `ATOMFS_STRESS=1`: 50, chosen by chance. */
const MOMENTS =
  process.env['ATOMFS_STRESS'] === '1'
    ? Array.from({ length: 50 }, (_, i) => i * 30 + new Random(i).int(0, 29))
    : [300, 600]
/** Prints what the owners and parts of seconds have no part in; a file system has its own sizes of directories. */
const LIST = `(find . -type d -printf '%p %y %m %T@\\n' -o ! -type c ! -type b -printf '%p %y %m %s %T@\\n') |
  sed 's/[.][0-9]*$//' | LC_ALL=C sort`
const MERGED = { ignore: ['blocks', 'nlink'], ignoreDirectoryNlink: true } as const
const SAME = { ignore: ['blocks'], ignoreDirectoryNlink: true } as const

let temp = ''
let oci = ''
let bare = ''
let count = 0

beforeAll(async () => {
  temp = makeTempDir()
  if (!need.ok) return
  const [one, two] = ['one', 'two'].map((name) => join(temp, name))
  mkdirSync(one!)
  buildSourceTree(one!, { size: 'small', noDevices: true })
  mkdirSync(join(two!, 'app/data/deep'), { recursive: true })
  for (const name of ['a', 'b', 'data/x', 'data/deep/y']) writeFileSync(join(two!, 'app', name), `${name}\n`)
  mkdirSync(join(two!, 'many'))
  writeFileSync(join(two!, 'many/second'), 'second')
  const layers = await Promise.all(
    [one!, two!].map(async (tree, index) => {
      const file = await mksquashfs(tree, join(temp, `layer${index}`), { compressor: 'zstd' })
      return { file, rootHash: (await appendVerity(file)).rootHash }
    }),
  )
  bare = layers[0]!.file
  oci = join(temp, 'oci')
  const config = {
    ...{ os: 'linux', architecture: 'amd64', config: { Env: ['A=b'] } },
    history: [{ created_by: 'one' }, { created_by: 'nothing', empty_layer: true }, { created_by: 'two' }],
    rootfs: { type: 'layers', diff_ids: layers.map(({ file }) => `sha256:${sha256(file)}`) },
  }
  await writeOciLayout(oci, [{ tag: 'base', layers, config }])
})
afterAll(() => removeTempDir(temp))

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}

function newPlace(): string {
  count += 1
  return join(temp, `place-${count}`)
}

interface Document {
  readonly layers: readonly {
    readonly digest: string
    readonly mediaType: string
    readonly annotations: object
  }[]
  readonly config: { readonly digest: string }
}

function blob(layout: string, digest: string): string {
  return join(layout, 'blobs/sha256', digest.replace('sha256:', ''))
}

function manifestOf(layout: string, tag: string): Document {
  const { manifests } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'))
  const found = manifests.find(
    ({ annotations }: { annotations: Record<string, string> }) =>
      annotations['org.opencontainers.image.ref.name'] === tag,
  )
  return JSON.parse(readFileSync(blob(layout, found.digest), 'utf8'))
}

/** All kinds of changes. */
async function change(target: string): Promise<void> {
  const at = (path: string): string => join(target, path)
  writeFileSync(at('app/a'), 'changed\n')
  unlinkSync(at('app/b'))
  renameSync(at('app/data'), at('app/moved'))
  writeFileSync(at('app/moved/new'), 'new')
  unlinkSync(at('app/moved/x'))
  renameSync(at('app/moved/deep'), at('app/deeper'))
  rmSync(at('many/d1'), { recursive: true })
  mkdirSync(at('many/d1'))
  writeFileSync(at('many/d1/again'), 'again')
  rmSync(at('many/d2'), { recursive: true })
  writeFileSync(at('many/d2'), 'a file now')
  unlinkSync(at('many/second'))
  mkdirSync(at('many/second'))
  writeFileSync(at('many/second/inside'), 'inside')
  chmodSync(at('many/d3/f1'), 0o4711)
  chownSync(at('many/d3/f2'), 7, 8)
  await run('setfattr', ['-n', 'user.mine', '-v', 'value', at('many/d3/f3')])
  await run('setfattr', ['-n', 'user.overlay.mine', '-v', 'data', at('many/d3')])
  linkSync(at('app/a'), at('app/hard'))
  symlinkSync('nowhere', at('app/link'))
  writeFileSync(at('app/.wh.name'), 'a name like a mark')
  await run('mknod', [at('app/device'), 'c', '5', '1'])
  mkdirSync(at('gone'))
  rmSync(at('gone'), { recursive: true })
  rmSync(at('wide'), { recursive: true })
}

describe.skipIf(!need.ok)(titled('commit', need), () => {
  test.each([
    ['with real owners', []],
    ['with owners written down', ['-o', 'xattr_permissions=2']],
  ] as const)('makes an image that shows what the mount shows, %s', async (_, args) => {
    const upper = newPlace()
    mkdirSync(upper)
    const layout = newPlace()
    let expected: TreeEntry[] = []
    await withAtomfs(
      temp,
      `${oci}:base`,
      async ({ target, runDir }) => {
        await change(target)
        const { stdout, stderr } = await atomfsFuse(['commit', target, `${layout}:new`], { runDir })
        expect(stderr).toBe('')
        expect(stdout).toMatch(/manifest: sha256:[0-9a-f]{64}\nchanges waited for \d+\.\d\d s\n$/)
        expected = await walkInChild(target)
        // Once more, on what the tag meant when it was mounted.
        writeFileSync(join(target, 'later'), 'later')
        await atomfsFuse(['commit', target, `${layout}:new`], { runDir })
      },
      ['--upper', upper, ...args],
    )
    const { layers, config } = manifestOf(layout, 'new')
    const base = manifestOf(oci, 'base')
    expect(layers.slice(0, 2).map(({ digest }) => digest)).toEqual(base.layers.map(({ digest }) => digest))
    expect(layers).toHaveLength(3)
    const document = JSON.parse(readFileSync(blob(layout, config.digest), 'utf8'))
    expect(document.config).toEqual({ Env: ['A=b'] })
    expect(document.rootfs.diff_ids).toEqual(layers.map(({ digest }) => digest))
    expect(
      document.history.filter(({ empty_layer: empty }: { empty_layer?: boolean }) => !empty),
    ).toHaveLength(3)
    await withAtomfs(temp, `${layout}:new`, async ({ target }) => {
      const shown = (await walkInChild(target)).filter(({ path }) => path !== 'later')
      const ignore = ['blocks', 'nlink', 'linkGroup'] as const
      const rest = shown.filter(({ path }) => path !== '.')
      expect(
        compareTrees(
          rest,
          expected.filter(({ path }) => path !== '.'),
          { ...MERGED, ignore },
        ),
      ).toEqual([])
    })
    const own = newPlace()
    await run('unsquashfs', ['-quiet', '-no-progress', '-dest', own, blob(layout, layers[2]!.digest)])
    const stored = walkTree(own)
    const names = new Set(stored.flatMap(({ xattrs = {} }) => Object.keys(xattrs)))
    expect([...names].filter((name) => name.includes('overlay.')).sort()).toEqual([
      'user.overlay.opaque',
      'user.overlay.overlay.mine',
    ])
    expect([...names].filter((name) => name.includes('override'))).toEqual([])
    const whiteouts = stored
      .filter(({ type, rdev }) => type === 'char' && rdev === '0:0')
      .map(({ path }) => path)
    expect(whiteouts).toEqual(expect.arrayContaining(['app/b', 'app/data', 'wide']))
    expect(whiteouts).not.toContain('gone')
    expect(stored.some(({ path }) => path.startsWith('many/d4') || path === 'deep')).toBe(false)
  })

  test('takes a bare squashfs file as the first layer, unchanged', async () => {
    const layout = newPlace()
    await withAtomfs(
      temp,
      bare,
      async ({ target, runDir }) => {
        writeFileSync(join(target, 'added'), 'added')
        await atomfsFuse(['commit', target, `${layout}:x`], { runDir })
      },
      ['--writeable'],
    )
    const [first, second] = manifestOf(layout, 'x').layers
    expect(first!.digest).toBe(`sha256:${sha256(bare)}`)
    expect(Object.keys(first!.annotations)).toHaveLength(1)
    const { stdout } = await atomfsFuse(['ls', '-R', blob(layout, second!.digest)])
    expect(stdout).toBe('/added\n')
    expect((await atomfsFuse(['cat', `${layout}:x`, 'added', 'many/d1/f1'])).bytes.toString('latin1')).toBe(
      `added${readFileSync(join(temp, 'one/many/d1/f1'), 'latin1')}`,
    )
  })

  test('wants --squash for a mount of directories, and makes one layer of all', async () => {
    const layout = newPlace()
    await withAtomfs(
      temp,
      join(temp, 'two'),
      async ({ target, runDir }) => {
        unlinkSync(join(target, 'app/b'))
        renameSync(join(target, 'app/data'), join(target, 'elsewhere'))
        const refused = await atomfsFuse(['commit', target, `${layout}:x`], { runDir, allowFailure: true })
        expect(refused.status).toBe(1)
        expect(refused.stderr).toMatch(/^Error: .*--squash\n$/)
        expect(existsSync(layout)).toBe(false)
        await atomfsFuse(['commit', '--squash', target, `${layout}:x`], { runDir })
        const expected = await walkInChild(target)
        const out = newPlace()
        await atomfsFuse(['extract', `${layout}:x`, out])
        expect(compareTrees(walkTree(out), expected, SAME)).toEqual([])
      },
      ['--writeable'],
    )
    expect(manifestOf(layout, 'x').layers).toHaveLength(1)
  })

  test('says in one line why there is nothing to commit', async () => {
    await withAtomfs(temp, `${oci}:base`, async ({ target, runDir }) => {
      const { status, stderr } = await atomfsFuse(['commit', target, `${newPlace()}:x`], {
        runDir,
        allowFailure: true,
      })
      expect({ status, stderr }).toEqual({
        status: 1,
        stderr: `Error: ${target}: the mount takes no changes\n`,
      })
    })
    const none = await atomfsFuse(['commit', temp, `${newPlace()}:x`], { allowFailure: true })
    expect(none.stderr).toMatch(/is not a mount of atomfs-fuse/)
  })

  test('sees one moment of the changes that writers make meanwhile, who then go on', async () => {
    const layout = newPlace()
    await withAtomfs(
      temp,
      `${oci}:base`,
      async ({ target, runDir }) => {
        const script = `
          const fs = require('node:fs')
          const put = (name, text) => {
            const path = process.argv[1] + '/' + name
            const fd = fs.openSync(path + '.new', 'w')
            fs.writeSync(fd, text)
            fs.fsyncSync(fd)
            fs.closeSync(fd)
            fs.renameSync(path + '.new', path)
          }
          for (let i = 0; ; i += 1) {
            const text = String(i).padStart(9)
            put('first', text)
            put('app/second', text)
            fs.mkdirSync(process.argv[1] + '/d' + i)
            fs.rmSync(process.argv[1] + '/d' + (i - 1), { force: true, recursive: true })
          }`
        // Between the two in the order of names: what takes long to read and to compress.
        mkdirSync(join(target, 'between'))
        for (let i = 0; i < 40; i += 1) writeFileSync(join(target, `between/${i}`), randomBytes(200_000))
        const writer = spawn(process.execPath, ['-e', script, target], { stdio: 'ignore' })
        try {
          await until(() => existsSync(join(target, 'app/second')), 'the first round of the writer')
          const numbers: number[] = []
          for (let round = 0; round < (process.env['ATOMFS_STRESS'] === '1' ? 50 : 2); round += 1) {
            await atomfsFuse(['commit', target, `${layout}:r${round}`], { runDir })
            const read = async (name: string): Promise<number> =>
              Number((await atomfsFuse(['cat', `${layout}:r${round}`, name])).stdout)
            const [first, second] = [await read('first'), await read('app/second')]
            expect([second, second + 1]).toContain(first)
            const names = (await atomfsFuse(['ls', `${layout}:r${round}`])).stdout.match(/^d\d+$/gm) ?? []
            expect(names.length).toBeLessThanOrEqual(2)
            numbers.push(first)
          }
          expect(writer.exitCode).toBe(null)
          expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
          expect(new Set(numbers).size).toBe(numbers.length)
        } finally {
          writer.kill('SIGKILL')
          await once(writer, 'exit')
        }
      },
      ['--writeable'],
    )
  })

  test('holds changes back while reads go on, and lets them go when whoever holds them ends', async () => {
    await withAtomfs(
      temp,
      `${oci}:base`,
      async ({ target, runDir }) => {
        process.env['ATOMFS_TEST_RUN_DIR'] = runDir
        let writer: ChildProcess | undefined
        try {
          const holders = [await holdChanges(target, undefined), await holdChanges(target, undefined)]
          expect(holders[0]!.mount).toMatchObject({ allowMissingVerity: false, source: { container: 'oci' } })
          writer = spawn('sh', ['-c', `mkdir '${target}/app/made' && : > '${target}/app/made/file'`], {
            stdio: 'ignore',
          })
          // Names in a directory in which somebody waits for a change may have to wait as well: the kernel has it locked.
          await run('cat', [join(target, 'many/d1/f1')])
          await run('ls', ['-lR', join(target, 'many')])
          holders[0]!.release()
          await run('ls', ['-lR', join(target, 'deep')])
          expect(writer.exitCode).toBe(null)
          holders[1]!.release()
          if (writer.exitCode === null) await once(writer, 'exit')
          expect(writer.exitCode).toBe(0)
          expect((await run('ls', [join(target, 'app/made')])).stdout).toBe('file\n')
          // A caller that waits can be ended.
          const { release } = await holdChanges(target, undefined)
          const stuck = spawn('mkdir', [join(target, 'app/never')], { stdio: 'ignore' })
          await run('cat', [join(target, 'many/d1/f2')])
          stuck.kill('SIGKILL')
          await once(stuck, 'exit')
          release()
        } finally {
          writer?.kill('SIGKILL')
          delete process.env['ATOMFS_TEST_RUN_DIR']
        }
      },
      ['--writeable'],
    )
  })

  test('leaves a whole image or none when it is killed, and a mount that goes on', async () => {
    await withTempDir(async (place) => {
      await withAtomfs(
        place,
        `${oci}:base`,
        async ({ target, runDir }) => {
          for (let i = 0; i < 200; i += 1) writeFileSync(join(target, `n${i}`), Buffer.alloc(20_000, `${i}`))
          for (const [round, wait] of MOMENTS.entries()) {
            const child = spawn(ATOMFS_FUSE, ['commit', target, `${place}/layout:r${round}`], {
              stdio: 'ignore',
              env: { ...process.env, ATOMFS_TEST_RUN_DIR: runDir },
            })
            setTimeout(() => child.kill('SIGKILL'), wait)
            await once(child, 'exit')
            await run('touch', [join(target, `after${round}`)])
          }
          await atomfsFuse(['commit', target, `${place}/layout:last`], { runDir })
          const found = readdirSync(join(place, 'layout/blobs/sha256'))
          for (const name of found) expect(sha256(join(place, 'layout/blobs/sha256', name))).toBe(name)
        },
        ['--writeable'],
      )
    })
  }, 200_000)

  test('says in one line that the disk is full, and leaves the layout as it was and the mount at work', async () => {
    const place = newPlace()
    mkdirSync(place)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', place])
    try {
      await withAtomfs(
        temp,
        bare,
        async ({ target, runDir }) => {
          await atomfsFuse(['commit', target, `${place}/layout:x`], { runDir })
          const before = readdirSync(place, { recursive: true }).sort()
          writeFileSync(join(target, 'noise'), randomBytes(4 << 20))
          const options = { runDir, allowFailure: true }
          const { status, stderr } = await atomfsFuse(['commit', target, `${place}/layout:y`], options)
          expect(status).toBe(1)
          expect(stderr).toMatch(/^Error: the changes of the mount.*ENOSPC[^\n]*\n$/)
          expect(readdirSync(place, { recursive: true }).sort()).toEqual(before)
          writeFileSync(join(target, 'after'), 'after')
        },
        ['--writeable'],
      )
    } finally {
      await run('umount', [place])
    }
  })

  test('names a file whose data overlayfs has left in a layer below, instead of an image without them', async () => {
    const upper = newPlace()
    const layout = newPlace()
    mkdirSync(upper)
    writeFileSync(join(upper, 'half'), '')
    await run('setfattr', ['-n', 'user.overlay.metacopy', join(upper, 'half')])
    await withAtomfs(
      temp,
      bare,
      async ({ target, runDir }) => {
        const options = { runDir, allowFailure: true }
        const { status, stderr } = await atomfsFuse(['commit', target, `${layout}:x`], options)
        expect(status).toBe(1)
        expect(stderr).toMatch(/^Error: the changes of the mount: "half".*overlay\.metacopy[^\n]*\n$/)
        expect(existsSync(layout)).toBe(false)
      },
      ['--upper', upper],
    )
  })

  test('of a plain user keeps the owners of the layers, and stores what the mount shows', async () => {
    chmodSync(temp, 0o755)
    await inNamespace(SINGLE_ID, async ({ folder, inside }) => {
      const script = `
        "$0" mount --writeable "$1" mnt
        trap '"$0" umount mnt' EXIT
        echo new > mnt/many/d1/f1
        rm -r mnt/many/d2 mnt/wide
        mv mnt/many/d3 mnt/many/moved
        mkdir mnt/many/d2
        "$0" commit mnt layout:x --quiet
        "$0" commit --squash mnt layout:y --quiet
        (cd mnt && ${LIST}) > shown`
      await inside(script, bare)
      const shown = readFileSync(join(folder, 'shown'), 'latin1')
      for (const tag of ['x', 'y']) {
        await withAtomfs(temp, `${folder}/layout:${tag}`, async ({ target }) => {
          const { bytes } = await run('sh', ['-c', LIST], { cwd: target })
          expect(bytes.toString('latin1')).toBe(shown)
          const seen = await walkInChild(target)
          const owners = (path: string): string[] =>
            seen.filter((entry) => entry.path.startsWith(path)).map(({ uid, gid }) => `${uid}:${gid}`)
          const [first, ...others] = owners('owners/u')
          expect(new Set([first, ...others]).size).toBe(20)
        })
      }
    })
  })
})
