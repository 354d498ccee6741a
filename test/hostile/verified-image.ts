import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { S_IFCHR, viewOf } from '../../src/base/index.ts'
import { readLayout } from '../library/images/oci-layout.ts'
import { appendVerity, mksquashfs, type Random, writeOciLayout } from '../library/index.ts'
import { TreeBuilder } from '../library/trees/source-tree.ts'

/** A range of bytes of a layer that serves one purpose. */
export interface Region {
  readonly name: string
  readonly start: number
  readonly end: number
}

export interface VerifiedLayer {
  readonly path: string
  readonly rootHash: string
  readonly regions: readonly Region[]
}

export interface VerifiedImage {
  readonly ociDir: string
  /** For the command line. */
  readonly source: string
  /** Bottom first. */
  readonly layers: readonly VerifiedLayer[]
  /** What the layers were made of, bottom first. */
  readonly trees: readonly string[]
}

const VERITY_SUPERBLOCK = 512

/**
 * An image of two verified layers of about 1.3 MB together, with every kind of structure that a flipped bit can
 * hit. Needs root, mksquashfs and veritysetup.
 */
export async function makeVerifiedImage(folder: string): Promise<VerifiedImage> {
  const trees = [join(folder, 'lower'), join(folder, 'upper')]
  for (const tree of trees) mkdirSync(tree)
  buildLower(new TreeBuilder(trees[0]!, 101))
  buildUpper(new TreeBuilder(trees[1]!, 202))
  const files: { file: string; rootHash: string }[] = []
  for (const [i, tree] of trees.entries()) {
    const file = await mksquashfs(tree, `${tree}.squashfs`, {
      compressor: i === 0 ? 'gzip' : 'zstd',
      blockSize: 32_768,
      // Stored metadata is large enough that opening the image does not read all of it.
      extra: i === 0 ? ['-noI', '-noX'] : [],
    })
    files.push({ file, rootHash: (await appendVerity(file, { salt: `${i}b`.repeat(32) })).rootHash })
  }
  const ociDir = join(folder, 'oci')
  await writeOciLayout(ociDir, [{ tag: 'two', layers: files }])
  const layers = readLayout(ociDir, 'two').layers.map((layer) => ({
    path: layer.blobPath,
    rootHash: layer.rootHash!,
    regions: regionsOf(readFileSync(layer.blobPath)),
  }))
  return { ociDir, source: `${ociDir}:two`, layers, trees }
}

function buildLower(tree: TreeBuilder): void {
  const { random } = tree
  for (const path of ['etc', 'bin', 'data', 'data/deep', 'data/deep/er', 'gone', 'hidden', 'wide'])
    tree.directory(path)
  for (const size of [70_000, 150_000, 32_768, 400_000]) tree.file(`data/random-${size}`, random.bytes(size))
  for (const size of [0, 1, 32_767, 32_769, 120_000]) tree.file(`data/text-${size}`, random.text(size))
  tree.file('data/hole', Buffer.concat([random.bytes(40_000), Buffer.alloc(100_000), random.bytes(100)]))
  addSmallFiles(tree, 'bin', 25)
  addSmallFiles(tree, 'gone', 3)
  addSmallFiles(tree, 'hidden', 3)
  // Enough entries for a directory of several metadata blocks with an index.
  for (let i = 0; i < 900; i += 1) tree.file(`wide/a-name-of-some-length-${i}`, i % 50 === 0 ? `${i}` : '')
  tree.file('data/deep/er/leaf', random.text(5000))
  tree.link('data/deep/hard', 'bin/f1')
  tree.symlink('etc/link', '../data/deep/er/leaf')
  tree.symlink('etc/long', 'x/'.repeat(300))
  tree.node('etc/device', S_IFCHR, 10, 229)
  addXattrs(tree, random)
  tree.close()
}

function buildUpper(tree: TreeBuilder): void {
  const { random } = tree
  for (const path of ['etc', 'bin', 'data', 'hidden', 'new']) tree.directory(path)
  tree.xattr('hidden', 'trusted.overlay.opaque', 'y')
  tree.node('gone', S_IFCHR, 0, 0)
  tree.node('bin/f3', S_IFCHR, 0, 0)
  tree.file('bin/f2', random.text(9000), 0o755)
  tree.file('data/random-70000', random.bytes(66_000))
  tree.file('new/large', random.bytes(300_000))
  tree.file('hidden/visible', 'now\n')
  addSmallFiles(tree, 'new', 20)
  tree.symlink('new/link', 'large')
  addXattrs(tree, random)
  tree.close()
}

/** Tails that share fragments, and owners for the table of ids. */
function addSmallFiles(tree: TreeBuilder, folder: string, count: number): void {
  for (let i = 0; i < count; i += 1) {
    tree.file(`${folder}/f${i}`, tree.random.text(tree.random.int(1, 6000)))
    tree.owner(`${folder}/f${i}`, i % 7, 10 + (i % 5))
  }
}

function addXattrs(tree: TreeBuilder, random: Random): void {
  for (let i = 0; i < 12; i += 1) {
    tree.file(`etc/x${i}`, `${i}\n`)
    tree.xattr(`etc/x${i}`, 'user.note', random.text(random.int(1, 400)))
    tree.xattr(`etc/x${i}`, 'trusted.mark', random.bytes(i))
  }
  tree.xattr('etc', 'user.of.directory', 'yes')
}

/** squashfs: The Superblock; the verity data follows at the next 4 KiB. */
function regionsOf(bytes: Uint8Array): readonly Region[] {
  const view = viewOf(bytes)
  const at = (field: number): number => Number(view.getBigUint64(field, true))
  const [used, ids, inodes, directories, fragments] = [at(40), at(48), at(64), at(72), at(80)]
  const hashOffset = Math.ceil(used / 4096) * 4096
  const marks: readonly (readonly [string, number])[] = [
    ['superblock', 0],
    ['data', 96],
    ['inodes', inodes],
    ['directories', directories],
    ['tables', Math.min(fragments, ids)],
    ['padding', used],
    ['verity superblock', hashOffset],
    ['verity padding', hashOffset + VERITY_SUPERBLOCK],
    ['hash tree', hashOffset + 4096],
  ]
  return marks
    .map(([name, start], i) => ({ name, start, end: marks[i + 1]?.[1] ?? bytes.length }))
    .filter(({ start, end }) => end > start)
}
