import { createHash } from 'node:crypto'
import { appendFileSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mksquashfs } from '../../test/library/images/images.ts'
import { run } from '../../test/library/programs/process.ts'
import { Random } from '../../test/library/trees/random.ts'
import type { TreeFacts, WriteFacts } from './facts.ts'
import { listTree } from './list-tree.ts'

const MIB = 2 ** 20
const FIXED_TIME = 1_500_000_000
const LARGE_FILE = 'large.bin'
/** `splitIntoLayers` gives each name of such a directory to a layer by its hash. */
const NAMES_OF_MERGED = 10

/** Packs one large file. Three quarters of it do not compress. */
export async function buildLargeFile(image: string, bytes: number): Promise<TreeFacts> {
  const folder = `${image}.tree`
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  const path = join(folder, LARGE_FILE)
  const random = new Random(99)
  const digest = createHash('sha256')
  writeFileSync(path, '')
  for (let at = 0; at < bytes; at += MIB) {
    const length = Math.min(MIB, bytes - at)
    const piece = (at / MIB) % 4 === 3 ? random.text(length) : random.bytes(length)
    digest.update(piece)
    appendFileSync(path, piece)
  }
  utimesSync(path, FIXED_TIME, FIXED_TIME)
  rmSync(image, { force: true })
  await mksquashfs(folder, image, { compressor: 'zstd', timeout: 900_000, extra: ['-no-xattrs'] })
  rmSync(folder, { recursive: true })
  const bigFile = { name: LARGE_FILE, bytes, sha256: digest.digest('hex') }
  // Nothing packs this tree again, and no program starts from it.
  return { entries: 2, tarBytes: 0, contentBytes: bytes, bigFile, readerLists: [], startUps: [] }
}

/** Packs a tree into one tar file. */
export async function buildArchive(
  tree: string,
  path: string,
  facts: TreeFacts,
): Promise<NonNullable<WriteFacts['archive']>> {
  await run('tar', ['cf', path, '-C', tree, '.'], { timeout: 300_000 })
  if (statSync(path).size !== facts.tarBytes) throw new Error(`${path}: not the size of the tree's archive`)
  return { path, entries: facts.entries, tarBytes: facts.tarBytes }
}

/**
 * The smallest directory of the second level that has names enough to lie in several layers for certain; where none
 * has, as in small inputs, the one with the most.
 */
export function findMerged(tree: string): NonNullable<WriteFacts['moved']> {
  const candidates = directoriesOf(tree)
    .flatMap((name) => directoriesOf(join(tree, name)).map((child) => join(name, child)))
    .map((directory) => ({
      directory,
      names: readdirSync(join(tree, directory)).length,
      entries: 1 + [...listTree(tree, directory)].length,
    }))
    .sort((a, b) => a.entries - b.entries)
  const found =
    candidates.find(({ names }) => names >= NAMES_OF_MERGED) ??
    candidates.sort((a, b) => b.names - a.names)[0]
  if (found === undefined) throw new Error(`${tree}: no directory that several layers have`)
  return { directory: found.directory, entries: found.entries }
}

function directoriesOf(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
}
