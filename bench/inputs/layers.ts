import { createHash } from 'node:crypto'
import {
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import { listTree } from './list-tree.ts'

/** Names of this depth and all below them lie in one layer, as packages do. */
const GROUP_DEPTH = 3
/** One file in so many lies in the bottom layer too, hidden by the one above. */
const REPLACED = 50
/** Names of the bottom layer that each layer above deletes. */
const DELETED = 20

/**
 * Splits a tree into layers whose merge is exactly that tree: every group of paths in one of them, some files also in
 * the bottom layer, and some names there that a layer above deletes by a whiteout. Needs root.
 * @returns directories, bottom first; files are hard links into the tree
 */
export async function splitIntoLayers(tree: string, parent: string, count: number): Promise<string[]> {
  const layers = Array.from({ length: count }, (_, i) => join(parent, `layer${i}`))
  for (const layer of layers) mkdirSync(layer, { recursive: true })
  const [bottom = ''] = layers
  for (const { name, stat } of listTree(tree)) {
    const layer = layers[hash(name.split('/').slice(0, GROUP_DEPTH).join('/')) % count] ?? bottom
    if (stat.isDirectory()) mkdirSync(join(layer, name), { recursive: true })
    else {
      put(tree, layer, name)
      if (layer !== bottom && stat.isFile() && hash(name) % REPLACED === 0) put(tree, bottom, name)
    }
  }
  for (const [i, layer] of layers.entries()) {
    if (layer !== bottom) await deleteNames(bottom, layer, i)
  }
  // Attributes of a merged directory are those of the topmost layer that has it, so they are the tree's everywhere.
  for (const layer of layers) copyDirectoryTimes(tree, layer)
  return layers
}

function put(tree: string, layer: string, name: string): void {
  const [from, to] = [join(tree, name), join(layer, name)]
  mkdirSync(dirname(to), { recursive: true })
  if (lstatSync(from).isSymbolicLink()) symlinkSync(readlinkSync(from), to)
  else linkSync(from, to)
}

async function deleteNames(bottom: string, layer: string, index: number): Promise<void> {
  const names = Array.from({ length: DELETED }, (_, i) => `deleted-${index}-${i}`)
  for (const name of names) {
    writeFileSync(join(bottom, name), name)
    await run('mknod', [join(layer, name), 'c', '0', '0'])
  }
}

function copyDirectoryTimes(from: string, to: string): void {
  for (const entry of readdirSync(to, { withFileTypes: true })) {
    if (entry.isDirectory()) copyDirectoryTimes(join(from, entry.name), join(to, entry.name))
  }
  const { atimeMs, mtimeMs } = statSync(from)
  utimesSync(to, atimeMs / 1000, mtimeMs / 1000)
}

function hash(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32LE(0)
}
