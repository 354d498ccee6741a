import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import {
  AS_SOURCE,
  ATOMFS_FUSE,
  atomfsFuse,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  needs,
  Random,
  removeTempDir,
  run,
  seenByKernel,
  type TreeEntry,
  titled,
  walkTree,
  withAtomfs,
} from '../library/index.ts'

const need = needs('root', 'kernel-squashfs', 'loop', 'fuse', 'veritysetup')
/** Milliseconds after the start; `ATOMFS_STRESS=1`: 51 in all, chosen by chance. */
const MOMENTS =
  process.env['ATOMFS_STRESS'] === '1'
    ? Array.from({ length: 17 }, (_, i) => i * 100 + new Random(i).int(0, 99))
    : [0, 120, 240, 360, 480, 600]
const temp = makeTempDir()
const tree = join(temp, 'tree')
const PORTABLE = { ATOMFS_CODECS: 'portable' }
let source: TreeEntry[] = []

beforeAll(() => {
  if (!need.ok) return
  mkdirSync(tree)
  buildSourceTree(tree, { size: 'small' })
  source = walkTree(tree)
})
afterAll(() => removeTempDir(temp))

async function packed(
  name: string,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<string> {
  const image = join(temp, name)
  const { stderr } = await atomfsFuse(['pack', tree, image, '--quiet', ...args], { env })
  expect(stderr).toBe('')
  return image
}

describe.skipIf(!need.ok)(titled('pack', need), () => {
  test('makes an image that equals its source, with the root hash that it prints', async () => {
    const image = join(temp, 'verified.squashfs')
    const { stdout } = await atomfsFuse(['pack', tree, image])
    const [, rootHash = ''] = /^root hash: ([0-9a-f]{64})\n$/.exec(stdout) ?? []
    expect(compareTrees(await seenByKernel(temp, image), source, AS_SOURCE)).toEqual([])
    const [layer] = JSON.parse((await atomfsFuse(['inspect', '--json', image])).stdout).layers
    const dataBlocks = Math.ceil(layer.bytesUsed / 4096)
    const hashOffset = dataBlocks * 4096
    await run('veritysetup', [
      'verify',
      image,
      image,
      rootHash,
      `--hash-offset=${hashOffset}`,
      `--data-blocks=${dataBlocks}`,
    ])
    await withAtomfs(
      temp,
      image,
      ({ target }) => expect(compareTrees(walkTree(target), source, AS_SOURCE)).toEqual([]),
      ['--root-hash', rootHash],
    )
  })

  test('makes the same bytes again, and with other numbers of threads', async () => {
    const images = await Promise.all(
      ['1', '2', '8'].map((threads) => packed(`threads-${threads}`, ['--threads', threads])),
    )
    const [first, ...others] = images.map((image) => readFileSync(image))
    for (const other of others) expect(first!.equals(other)).toBe(true)
  })

  test('makes the same bytes with other compressors where nothing is compressed', async () => {
    const plain = ['--uncompressed', 'inodes,data,fragments,xattrs,ids', '--compression', 'gzip']
    const [first, other] = [await packed('system', plain), await packed('portable', plain, PORTABLE)]
    expect(readFileSync(first).equals(readFileSync(other))).toBe(true)
  })

  test('shows on a terminal how far it is, and makes the same image', async () => {
    const image = join(temp, 'terminal.squashfs')
    const command = `'${ATOMFS_FUSE}' pack '${tree}' '${image}'`
    const { stdout } = await run('script', ['-qec', command, '/dev/null'])
    expect(stdout).toMatch(/packing .* %.*root hash: [0-9a-f]{64}/s)
    expect(readFileSync(image).equals(readFileSync(await packed('no-terminal.squashfs')))).toBe(true)
  })

  test('takes no time later than SOURCE_DATE_EPOCH, and with --all-root no owner but 0', async () => {
    const image = await packed('epoch', ['--all-root', '--compression', 'gzip:1'], {
      SOURCE_DATE_EPOCH: '1000000000',
    })
    const seen = await seenByKernel(temp, image)
    expect(Math.max(...seen.map((entry) => Number(entry.mtime)))).toBeLessThanOrEqual(1_000_000_000)
    expect(new Set(seen.map(({ uid, gid }) => `${uid}:${gid}`))).toEqual(new Set(['0:0']))
  })

  test('leaves what has the name alone, unless --force replaces it', async () => {
    const image = join(temp, 'present')
    writeFileSync(image, 'mine')
    const refused = await atomfsFuse(['pack', tree, image], { allowFailure: true })
    expect(refused).toMatchObject({ status: 1, stderr: `Error: ${image} exists; --force replaces it\n` })
    expect(readFileSync(image, 'utf8')).toBe('mine')
    await packed('present', ['--force'])
    expect(statSync(image).size).toBeGreaterThan(4096)
    const folder = await atomfsFuse(['pack', tree, tree, '--force'], { allowFailure: true })
    expect(folder).toMatchObject({ status: 1, stderr: `Error: ${tree} exists and is no regular file\n` })
  })

  test('of a tree that a plain user may not read makes nothing, and says which file', async () => {
    const mine = join(temp, 'mine')
    mkdirSync(mine)
    chmodSync(temp, 0o755)
    chmodSync(mine, 0o777)
    const own = join(mine, 'own')
    mkdirSync(own)
    writeFileSync(join(own, 'secret'), 'x', { mode: 0o600 })
    const user = ['--reuid=4711', '--regid=4711', '--clear-groups', ATOMFS_FUSE]
    const result = await run('setpriv', [...user, 'pack', own, join(mine, 'image')], { allowFailure: true })
    expect(result.status).toBe(1)
    expect(result.stderr).toMatch(/^Error: "secret" cannot be read: EACCES.*\n$/)
    expect(readdirSync(mine)).toEqual(['own'])
  })

  test.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)(
    'leaves a whole image or nothing after %s',
    async (signal) => {
      const folder = join(temp, signal)
      mkdirSync(folder)
      for (const wait of MOMENTS) {
        const image = join(folder, `${wait}`)
        const child = spawn(ATOMFS_FUSE, ['pack', tree, image, '--compression', 'xz'], { stdio: 'ignore' })
        setTimeout(() => child.kill(signal), wait)
        await once(child, 'exit')
        const left = readdirSync(folder).filter((name) => name.startsWith(`${wait}`) || name.startsWith('.'))
        expect(left.filter((name) => name !== `${wait}`)).toEqual([])
        if (left.length > 0)
          expect(compareTrees(await seenByKernel(temp, image), source, AS_SOURCE)).toEqual([])
      }
    },
    200_000,
  )

  test('stops in the middle of a file of holes when it is asked to', async () => {
    const folder = join(temp, 'holes')
    mkdirSync(join(folder, 'tree'), { recursive: true })
    writeFileSync(join(folder, 'tree', 'holes'), '')
    truncateSync(join(folder, 'tree', 'holes'), 8 * 2 ** 40)
    const words = ['pack', join(folder, 'tree'), join(folder, 'image')]
    const child = spawn(ATOMFS_FUSE, words, { stdio: 'ignore' })
    try {
      await vi.waitFor(() => expect(readsHoles(child.pid ?? 0, 'holes')).toBe(true), { timeout: 30_000 })
      child.kill('SIGTERM')
      await once(child, 'exit', { signal: AbortSignal.timeout(30_000) })
    } finally {
      child.kill('SIGKILL')
    }
    expect(readdirSync(folder)).toEqual(['tree'])
  })
})

/** Whether a process has a file of this name open. */
function readsHoles(pid: number, name: string): boolean {
  const folder = `/proc/${pid}/fd`
  return readdirSync(folder).some((fd) => {
    try {
      return basename(readlinkSync(`${folder}/${fd}`)) === name
    } catch {
      return false
    }
  })
}
