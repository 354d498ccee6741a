import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mke2fs } from '../library/images/ext.ts'
import {
  AS_SOURCE,
  compareTrees,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
  walkInChild,
  walkTree,
  withAtomfs,
} from '../library/index.ts'
import { inScene } from '../library/scenes/life.ts'

/** SIF files of siftool, in all forms that it makes: listed as siftool lists them, mounted as other programs read them. */

const need = needs('root', 'fuse', 'mksquashfs', 'unsquashfs', 'mke2fs', 'debugfs', 'siftool')

let temp = ''
let base = ''
let other = ''
let overlay = ''
let text = ''
beforeAll(async () => {
  temp = makeTempDir()
  if (!need.ok) return
  for (const tree of ['base', 'other', 'overlay/upper', 'overlay/work']) {
    mkdirSync(join(temp, tree, 'etc'), { recursive: true })
    for (const name of ['kept', tree.replace('/', '-')])
      writeFileSync(join(temp, tree, 'etc', name), `${tree}\n`)
  }
  base = await mksquashfs(join(temp, 'base'), join(temp, 'base.sqfs'))
  other = await mksquashfs(join(temp, 'other'), join(temp, 'other.sqfs'))
  const options = '-t ext3 -b 1024'
  overlay = await mke2fs(join(temp, 'overlay.img'), { options, megabytes: 8, from: join(temp, 'overlay') })
  text = join(temp, 'text')
  writeFileSync(text, '{"a":1}\n')
})
afterAll(() => removeTempDir(temp))

const add = (file: string, type: number, content: string, ...words: readonly string[]) =>
  run('siftool', ['add', '--datatype', String(type), ...words, file, content])

interface Form {
  readonly use: number
  readonly kind: number
  readonly machine: number
}

const addPartition = (
  file: string,
  content: string,
  { use, kind, machine }: Form,
  ...words: readonly string[]
) =>
  add(
    ...([file, 4, content] as const),
    ...['--parttype', String(use), '--partfs', String(kind), '--partarch', String(machine)],
    ...words,
  )

/** Rows of `siftool list`: number, group, link, first and last byte, type. */
async function theirRows(file: string): Promise<readonly (readonly string[])[]> {
  const { stdout } = await run('siftool', ['list', file])
  return stdout
    .split('\n')
    .filter((line) => /^\d/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()))
}

/** The same of `inspect`. */
async function ourRows(file: string): Promise<readonly (readonly string[])[]> {
  let rows: readonly (readonly string[])[] = []
  await inScene(async ({ atomfs }) => {
    const { listing } = JSON.parse((await atomfs('inspect', '--json', file)).stdout)
    rows = listing.objects.map((object: Listed) => {
      const { id, type, group, link, offset, size, details } = object
      const { fileSystem, part, architecture, format, message, hash } = details
      const kind = fileSystem === undefined ? (hash ?? format) : `${fileSystem}/${part}/${architecture}`
      const named = message === undefined ? kind : `${format}/${message}`
      return [
        String(id),
        group === undefined ? 'NONE' : String(group),
        link === undefined ? 'NONE' : 'group' in link ? `${link.group} (G)` : String(link.object),
        `${offset}-${offset + size}`,
        named === undefined ? type : `${type} (${named})`,
      ]
    })
  })
  return rows
}

interface Listed {
  readonly id: number
  readonly type: string
  readonly group?: number
  readonly link?: { readonly object: number } | { readonly group: number }
  readonly offset: number
  readonly size: number
  readonly details: Readonly<Record<string, string>>
}

describe.skipIf(!need.ok)(titled('files of siftool', need), () => {
  test('objects of every type, hash and format are listed as siftool lists them, and deleted ones are not', async () => {
    const file = join(temp, 'objects.sif')
    await run('siftool', ['new', file])
    for (const type of [1, 2, 3, 6, 7, 8])
      await add(file, type, text, '--groupid', String(type % 3), '--link', '1')
    for (const hash of [1, 2, 3, 4, 5]) {
      const entity = '433FE984155206BD962725E20E8713472A879943'
      await add(file, 5, text, '--signhash', String(hash), '--signentity', entity, '--link', '2')
    }
    const formats = [
      'cyclonedx-json',
      'cyclonedx-xml',
      'github-json',
      'spdx-json',
      'spdx-rdf',
      'spdx-tag-value',
    ]
    for (const format of [...formats, 'spdx-yaml', 'syft-json'])
      await add(file, 9, text, '--sbomformat', format)
    for (const id of ['3', '9', '19']) await run('siftool', ['del', id, file])
    // Takes the first record that is free, and lies behind all others.
    await add(file, 6, text, '--filename', 'last')
    const ours = await ourRows(file)
    expect(ours.map(([id]) => Number(id))).toEqual([
      1,
      2,
      3,
      4,
      5,
      6,
      7,
      8,
      ...[10, 11, 12, 13, 14, 15, 16, 17, 18],
    ])
    expect(ours).toEqual(await theirRows(file))
    await inScene(async ({ atomfs }) => {
      expect((await atomfs('inspect', file)).stdout).toContain('433fe984155206bd962725e20e8713472a879943')
      expect(await atomfs('ls', file)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/: a SIF without a partition: nothing to mount\n$/),
      })
    })
  })

  test('partitions of every use, file system and machine are listed, and those with images mounted', async () => {
    const file = join(temp, 'partitions.sif')
    await run('siftool', ['new', file])
    const own = { x64: 2, arm64: 4 }[process.arch as string] ?? 2
    for (let machine = 1; machine <= 12; machine++) {
      await addPartition(file, text, { use: 1 + 2 * (machine % 2), kind: 1 + (machine % 4), machine })
    }
    await addPartition(file, base, { use: 1, kind: 1, machine: own }, '--groupid', '1')
    await addPartition(file, other, { use: 3, kind: 1, machine: 11 }, '--groupid', '2', '--link', '13')
    await addPartition(
      file,
      overlay,
      { use: 4, kind: 2, machine: own },
      '--groupid',
      '1',
      '--alignment',
      '65536',
    )
    expect(await ourRows(file)).toEqual(await theirRows(file))
    await run('siftool', ['setprim', '13', file])
    const rows = await ourRows(file)
    expect(rows).toEqual(await theirRows(file))
    expect(rows[12]?.[4]).toMatch(/^FS \(Squashfs\/\*System\/\w+\)$/)
    for (const [id, image] of [
      [13, base],
      [14, other],
    ] as const) {
      const unpacked = join(temp, `unpacked-${id}`)
      const part = join(temp, `part-${id}`)
      await dump(file, id, part)
      expect(readFileSync(part).equals(readFileSync(image))).toBe(true)
      await run('unsquashfs', ['-no-progress', '-d', unpacked, part])
      const found = await withAtomfs(temp, `${file}:${id}`, ({ target }) => walkInChild(target))
      expect(compareTrees(found, walkTree(unpacked), AS_SOURCE)).toEqual([])
    }
    const part = join(temp, 'part-15')
    await dump(file, 15, part)
    const written = join(temp, 'written')
    mkdirSync(written)
    await run('debugfs', ['-R', `rdump / ${written}`, part])
    await withAtomfs(temp, `${file}:15`, ({ target }) => {
      expect(readdirSync(target, { recursive: true }).sort()).toEqual(
        readdirSync(written, { recursive: true }).sort(),
      )
      const name = 'upper/etc/kept'
      expect(readFileSync(join(target, name), 'utf8')).toBe(readFileSync(join(written, name), 'utf8'))
    })
    await withAtomfs(temp, file, ({ target }) => {
      expect(readdirSync(join(target, 'etc'))).toEqual(['base', 'kept', 'overlay-upper'])
      expect(readFileSync(join(target, 'etc/kept'), 'utf8')).toBe('overlay/upper\n')
    })
  })
})

/** What siftool takes out of a file. */
async function dump(file: string, id: number, to: string): Promise<void> {
  await run('sh', ['-ec', 'siftool dump "$0" "$1" >"$2"', String(id), file, to])
}
