import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { BlockCompressor } from '../../squashfs/write/index.ts'
import {
  type FoundLayer,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  messageOf,
  S_IFDIR,
  S_IFLNK,
} from '../../src/base/index.ts'
import { describeContainer } from '../../src/bundle/index.ts'
import { extractSource, openContents, readFile } from '../../src/contents/index.ts'
import { listContents } from '../../src/contents/list.ts'
import { layerTree } from '../../src/make/convert/layer-tree.ts'
import { LowerLayers } from '../../src/make/convert/lower-layers.ts'
import { packLayer } from '../../src/make/convert/new-layer.ts'
import { applyLayer, openSourceImage, unpack } from '../../src/make/index.ts'
import { ShownTree } from '../../src/make/shown-tree.ts'
import { prepareSource } from '../../src/molecule/index.ts'
import { LayoutWriter } from '../../src/oci/write/index.ts'
import { descriptorPath } from '../../src/sys/plain/proc.ts'
import { makeTempDir, removeTempDir, walkTree, withTempDir, writeTarImage } from '../library/index.ts'
import { ATTACKS, type Attack, type Outcome } from './attack-layers.ts'

/** The most that is read of one file: some claim to be as long as a file can be. */
const READ_MAX = 1 << 20
const INLINE: BlockCompressor = { depth: 1, compress: async () => undefined }

/** Where an attack happens. */
interface Scene {
  readonly source: string
  /** A folder for what is made. */
  readonly place: string
}

type Names = readonly string[]

function marked(path: string, mode: number): string {
  return `${path}${isDirectory(mode) ? '/' : isSymlink(mode) ? '@' : ''}`
}

/** Reads an image in one way. @returns the names that it then has, without the root */
const WAYS: Readonly<Record<string, (scene: Scene) => Promise<Names>>> = {
  mount: async ({ source }) => {
    await prepareSource(source)
    const contents = openContents({ source })
    try {
      const names: string[] = []
      for (const item of listContents(contents, { path: '/', recursive: true })) {
        if ('error' in item) throw item.error
        if (item.path !== '/') names.push(marked(item.path.slice(1), item.stat.mode))
        if (!isRegular(item.stat.mode)) continue
        let read = 0
        for (const piece of readFile(contents, item.path)) {
          read += piece.length
          if (read > READ_MAX) break
        }
      }
      return names
    } finally {
      contents.close()
    }
  },
  extract: async ({ source, place }) => {
    const directory = join(place, 'extracted')
    let first: FsError | undefined
    await extractSource({ source, directory, threads: 0 }, { onFailure: (_, error) => (first ??= error) })
    if (first !== undefined) throw first
    return namesBelow(directory)
  },
  'bundle create': async ({ source }) => {
    await describeContainer({ source }, { args: ['true'], user: '5' })
    return WAYS['mount']!({ source, place: '' })
  },
  unpack: async ({ source, place }) => {
    const { directories } = await unpack(source, join(place, 'unpacked'))
    const layers = directories.map((directory) => ({ directory, what: 'layer', followsRedirects: false }))
    return namesOf(layers.toReversed())
  },
  'the library: apply': async ({ source, place }) => {
    const directory = join(place, 'applied')
    mkdirSync(directory)
    await withSource(source, async ({ layers }) => {
      for (const layer of layers) if ('open' in layer) await applyLayer(layer.open(), directory)
    })
    return namesBelow(directory)
  },
  convert: async ({ source, place }) =>
    withSource(source, async ({ layers }) => {
      const output = LayoutWriter.open(join(place, 'converted'))
      const made: FoundLayer[] = []
      try {
        for (const layer of layers) {
          if (layer.form !== 'tar') throw new Error(layer.form)
          const lower = new LowerLayers([...made])
          const options = { name: 'gzip', blockSize: 128 << 10 } as const
          const target = { output, compressor: () => INLINE, options }
          const { file } = await packLayer(layer.label, target, (leftOut) => (writer) => {
            return layerTree(layer, writer, lower, leftOut)
          })
          lower.close()
          made.push({ label: layer.label, path: descriptorPath(file.fd) })
        }
        return namesOf(made)
      } finally {
        output.close()
      }
    }),
}
/** Those that lay one layer over the other, and those that make the files of a tree anew. */
const LAID = ['unpack', 'the library: apply', 'convert']
const WRITTEN = [...LAID, 'extract']

function expectedOf({ mount, laid, written }: Attack, way: string): Outcome {
  if (written !== undefined && WRITTEN.includes(way)) return written
  return (LAID.includes(way) ? laid : undefined) ?? mount
}

async function withSource<T>(
  source: string,
  use: (image: Awaited<ReturnType<typeof openSourceImage>>) => Promise<T>,
): Promise<T> {
  const image = await openSourceImage(source)
  try {
    return await use(image)
  } finally {
    image.close()
  }
}

function namesBelow(directory: string): Names {
  return walkTree(directory, { noContent: true })
    .filter(({ path }) => path !== '.')
    .map(({ path, type }) => marked(path, type === 'directory' ? S_IFDIR : type === 'symlink' ? S_IFLNK : 0))
}

/** What a merge shows. */
function namesOf(layers: readonly FoundLayer[]): Names {
  const tree = new ShownTree(layers, 'shown')
  try {
    return [...tree.items()]
      .filter(({ path }) => path !== '')
      .map((item) => marked(item.path, 'entry' in item ? item.entry.mode : 0))
  } finally {
    tree.close()
  }
}

/** What became of it: the line that refuses it, or the names. */
async function outcomeOf(way: string, scene: Scene): Promise<string | Names> {
  try {
    return (await WAYS[way]!(scene)).toSorted()
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    const line = messageOf(error)
    expect(line.split('\n')).toHaveLength(1)
    expect(line.length).toBeLessThan(2000)
    return line
  }
}

let outside: string
beforeAll(() => {
  outside = makeTempDir()
  writeFileSync(join(outside, 'secret'), 'nobody reads or changes this')
})
afterAll(() => removeTempDir(outside))

function expectOutcome(found: string | Names, expected: Outcome): void {
  if (expected instanceof RegExp) expect(found).toEqual(expect.stringMatching(expected))
  else expect(found).toEqual([...expected(outside)].sort())
}

describe('a layer that is an attack is refused in one line, or does no harm, and nothing outside changes', () => {
  test.each(ATTACKS.map((attack): [string, Attack] => [attack.name, attack]))('%s', (_, attack) =>
    withTempDir(async (folder) => {
      const before = walkTree(outside)
      const image = join(folder, 'image')
      const { compress } = attack
      writeTarImage(image, { tag: 't', layers: attack.layers(outside), ...(compress && { compress }) })
      for (const way of Object.keys(WAYS)) {
        process.env['ATOMFS_STORE'] = join(folder, `store ${way}`)
        const place = join(folder, way)
        mkdirSync(place)
        const found = await outcomeOf(way, { source: `${image}:t`, place })
        const expected = expectedOf(attack, way)
        expectOutcome(found, expected)
        expect(readdirSync(place).length, way).toBeLessThan(2)
        expect(walkTree(outside), way).toEqual(before)
      }
      // Some trees are deeper than the functions of Node can remove.
      execFileSync('rm', ['-rf', ...Object.keys(WAYS).map((way) => join(folder, way))])
      const stores = Object.keys(WAYS).map((way) => `store ${way}`)
      expect(readdirSync(folder).filter((name) => !stores.includes(name))).toEqual(['image'])
    }),
  )
})
