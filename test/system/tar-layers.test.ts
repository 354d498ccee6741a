import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AS_SOURCE,
  archiveLayer,
  atomfsFuse,
  buildLayers,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  needs,
  removeTempDir,
  run,
  TAR_GZIP_MEDIA_TYPE,
  type TreeEntry,
  tarEnd,
  tarEntry,
  titled,
  walkTree,
  withAtomfs,
  writeTarImage,
} from '../library/index.ts'

const need = needs('root', 'fuse', 'tar', 'umoci')
const temp = makeTempDir()
const image = join(temp, 'image')
const store = join(temp, 'store')
const layers = join(store, 'layers/sha256')
const FILE = { type: 'file', mode: 0o644, uid: 0, mtime: 1_000_000_000 } as const

/** Names that a layer above has deleted still count as links of a file, as in overlayfs. */
const AS_UNPACKED = { ...AS_SOURCE, ignore: ['blocks', 'nlink'] } as const

/** umoci loses attributes whose value is empty: to its reader of archives such a record takes one back. */
function withoutEmpty(entries: readonly TreeEntry[]): TreeEntry[] {
  return entries.map(({ xattrs, ...entry }): TreeEntry => {
    const full = Object.entries(xattrs ?? {}).filter(([, value]) => value !== '')
    return full.length === 0 ? entry : { ...entry, xattrs: Object.fromEntries(full) }
  })
}

/** A command that fails with one line. */
async function refused(args: readonly string[]): Promise<string> {
  const { status, stderr } = await atomfsFuse(args, { allowFailure: true })
  expect({ status, lines: stderr.trimEnd().split('\n').length }).toEqual({ status: 1, lines: 1 })
  return stderr
}

const indexes = (): string[] => (existsSync(layers) ? readdirSync(layers).sort() : [])

beforeAll(async () => {
  process.env['ATOMFS_STORE'] = store
  if (!need.ok) return
  const folder = join(temp, 'layers')
  mkdirSync(join(folder, 'layer0'), { recursive: true })
  buildSourceTree(join(folder, 'layer0'), { size: 'small' })
  const above = join(folder, 'above')
  mkdirSync(above)
  const others = buildLayers(above, { seed: 4, form: 'user', count: 2 })
  const archives = await Promise.all([join(folder, 'layer0'), ...others].map(archiveLayer))
  writeTarImage(image, { tag: 'tar', layers: archives })
})
afterAll(() => removeTempDir(temp))

describe.skipIf(!need.ok)(titled('tar layers', need), () => {
  test('are shown by a mount as umoci unpacks them, and indexed once', async () => {
    await run('umoci', ['unpack', '--image', `${image}:tar`, join(temp, 'bundle')])
    const unpacked = walkTree(join(temp, 'bundle', 'rootfs'))
    const shown = await withAtomfs(temp, `${image}:tar`, ({ target }) => walkTree(target))
    expect(compareTrees(withoutEmpty(shown), unpacked, AS_UNPACKED)).toEqual([])
    const made = indexes()
    expect(made).toHaveLength(3)
    expect(made.every((name) => /^[0-9a-f]{64}\.idx$/.test(name))).toBe(true)
    expect(statSync(store).mode & 0o777).toBe(0o700)
    const times = made.map((name) => statSync(join(layers, name)).mtimeMs)
    const again = await withAtomfs(temp, `${image}:tar`, ({ target }) => walkTree(target))
    expect(compareTrees(again, shown, AS_UNPACKED)).toEqual([])
    expect(made.map((name) => statSync(join(layers, name)).mtimeMs)).toEqual(times)
  })

  test('are extracted, listed and verified', async () => {
    const out = join(temp, 'extracted')
    await atomfsFuse(['extract', `${image}:tar`, out, '--quiet'])
    expect(
      compareTrees(walkTree(out), walkTree(join(temp, 'bundle', 'rootfs')), {
        ...AS_UNPACKED,
        ignore: ['blocks', 'nlink', 'xattrs'],
      }),
    ).toEqual([])
    const { stdout } = await atomfsFuse(['verify', `${image}:tar`])
    expect(stdout.match(/: OK$/gm)).toHaveLength(3)
  })

  test('two commands at once make one index, and leave nothing else', async () => {
    const both = join(temp, 'both')
    const list = (): Promise<unknown> => atomfsFuse(['ls', '--store', both, '-R', `${image}:tar`])
    const [one, other] = await Promise.all([list(), list()])
    expect(one).toEqual(other)
    expect(readdirSync(join(both, 'layers/sha256')).sort()).toEqual(indexes())
  })

  test('a blob that changed is EIO where it changed, and found by verify', async () => {
    const changed = join(temp, 'changed')
    const content = Array.from({ length: 40_000 }, (_, i) => `${i * 7919}`).join(' ')
    const archive = Buffer.concat([tarEntry({ ...FILE, path: 'f', content }), tarEnd()])
    writeTarImage(changed, { tag: 't', layers: [archive] })
    expect((await atomfsFuse(['cat', `${changed}:t`, 'f'])).stdout).toBe(content)
    const manifest = readdirSync(join(changed, 'blobs/sha256')).map((name) =>
      join(changed, 'blobs/sha256', name),
    )
    const blob = manifest.sort((a, b) => statSync(b).size - statSync(a).size)[0]!
    const bytes = readFileSync(blob)
    bytes[bytes.length >> 1]! ^= 1
    writeFileSync(blob, bytes)
    expect(await refused(['cat', `${changed}:t`, 'f'])).toMatch(/data block \d+ at byte \d+/)
    const { status, stdout } = await atomfsFuse(['verify', `${changed}:t`], { allowFailure: true })
    expect(status).toBe(1)
    expect(stdout).toMatch(/CORRUPTION FOUND/)
    expect(await refused(['ls', '--store', join(temp, 'fresh'), `${changed}:t`])).toMatch(
      /the blob has the digest/,
    )
  })

  test('store lists, verifies, and removes what was asked for or is of no use', async () => {
    const own = join(temp, 'own')
    await atomfsFuse(['ls', '--store', own, `${image}:tar`])
    const folder = join(own, 'layers/sha256')
    const [first, second, third] = readdirSync(folder).sort()
    const list = async (...words: readonly string[]): Promise<{ digest: string; damage?: string }[]> =>
      JSON.parse(
        (await atomfsFuse(['store', ...words, '--store', own, '--json'], { allowFailure: true })).stdout,
      )
    expect((await list('ls')).map(({ digest }) => `${digest.slice(7)}.idx`)).toEqual([first, second, third])
    await atomfsFuse(['store', 'rm', `sha256:${first!.slice(0, 64)}`, '--store', own])
    const bytes = readFileSync(join(folder, second!))
    bytes[5000]! ^= 1
    writeFileSync(join(folder, second!), bytes)
    writeFileSync(join(folder, `${third}.lock`), '')
    expect((await list('verify')).map(({ damage }) => damage !== undefined)).toEqual([true, false])
    await atomfsFuse(['store', 'gc', '--store', own])
    expect(readdirSync(folder)).toEqual([third])
  })

  test('that cannot be indexed are refused in one line, which names the layer', async () => {
    const bad = join(temp, 'bad')
    const archive = Buffer.concat([tarEntry({ ...FILE, path: '.wh.' }), tarEnd()])
    writeTarImage(bad, { tag: 't', layers: [archive] })
    const before = indexes()
    expect(await refused(['mount', `${bad}:t`, temp])).toMatch(
      /layer sha256:[0-9a-f]{64}: .*whiteout of no name/,
    )
    expect(indexes()).toEqual(before)
  })

  test('that are not what the manifest and the configuration say are refused in one line', async () => {
    const archive = Buffer.concat([tarEntry({ ...FILE, path: 'f', content: 'x'.repeat(90_000) }), tarEnd()])
    const bytes = gzipSync(archive, { level: 0 })
    const before = indexes()
    const expectRefused = async (name: string, stored: Buffer, what: RegExp): Promise<void> => {
      const bad = join(temp, name)
      // A layer that is stored as it is: its diffID is that of the compressed bytes, and so is wrong.
      const layer = name === 'diff-id' ? { bytes, mediaType: TAR_GZIP_MEDIA_TYPE } : archive
      writeTarImage(bad, { tag: 't', layers: [layer], compress: () => bytes })
      const hex = createHash('sha256').update(bytes).digest('hex')
      writeFileSync(join(bad, 'blobs/sha256', hex), stored)
      for (const words of [
        ['mount', `${bad}:t`, temp],
        ['convert', `${bad}:t`, `${join(temp, 'out')}:t`],
      ]) {
        expect(await refused(words), words[0]).toMatch(what)
      }
      expect(indexes()).toEqual(before)
    }
    await expectRefused('diff-id', bytes, /: the archive in it has (the )?digest sha256:.*expected/)
    await expectRefused(
      'truncated',
      bytes.subarray(0, 50_000),
      /: (descriptor gives|the blob must have) 91676 bytes, .*has 50000:/,
    )
    await expectRefused(
      'longer',
      Buffer.concat([bytes, Buffer.alloc(99)]),
      /91676 bytes, .*has (91775|more):/,
    )
    const other = Buffer.from(bytes)
    other[70_000]! ^= 1
    await expectRefused('changed', other, /: the blob has (the )?digest sha256:.*expected/)
    expect(readdirSync(temp)).not.toContain('out')
  })
})
