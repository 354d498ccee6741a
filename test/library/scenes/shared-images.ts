import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mke2fs } from '../images/ext.ts'
import { COMPRESSORS, mksquashfs } from '../images/images.ts'
import { makeSif, SIF_TYPE } from '../images/sif.ts'
import { writeTarImage } from '../images/tar-image.ts'
import { ATOMFS_FUSE } from '../programs/atomfs.ts'
import { run } from '../programs/process.ts'
import { ociSource, UNVERIFIED } from '../trees/differential.ts'

/** SOURCE of a mount, of a kind that a shared server serves. */
export interface SharedSource {
  readonly kind: string
  readonly source: string
  /** Of `mount`. */
  readonly words: readonly string[]
  /** An index must be made first: the first mount has a server of its own. */
  readonly isIndexed: boolean
}

/** A folder whose files all images of `makeSharedSources` show, and those images. */
export interface SharedSources {
  /** With `etc/motd` ("hello") and `large`, which does not compress. */
  readonly tree: string
  readonly sources: readonly SharedSource[]
}

/** @param size bytes of `large` */
export async function makeSharedSources(folder: string, size: number): Promise<SharedSources> {
  const tree = join(folder, 'tree')
  mkdirSync(join(tree, 'etc'), { recursive: true })
  writeFileSync(join(tree, 'etc/motd'), 'hello\n')
  writeFileSync(join(tree, 'large'), noise(size))
  const sources: SharedSource[] = []
  const add = (kind: string, source: string, words: readonly string[] = [], isIndexed = false): void => {
    sources.push({ kind, source, words, isIndexed })
  }
  for (const compressor of COMPRESSORS) {
    const image = join(folder, `${compressor}.sqfs`)
    add(`squashfs ${compressor}`, await mksquashfs(tree, image, { compressor }))
  }
  const [{ source: squashfs } = { source: '' }] = sources
  add('ext4', await mke2fs(join(folder, 'image.ext4'), { from: tree }))
  const sif = join(folder, 'image.sif')
  const partition = { type: SIF_TYPE.partition, partition: [1, 2, '02'] as const }
  writeFileSync(sif, makeSif({ parts: [{ ...partition, data: readFileSync(squashfs) }] }))
  add('SIF', sif)
  const puzzlefs = join(folder, 'puzzlefs')
  symlinkSync(ATOMFS_FUSE, puzzlefs)
  await run(puzzlefs, ['build', tree, `${join(folder, 'chunks')}:puzzle`])
  add('PuzzleFS', `${join(folder, 'chunks')}:puzzle`)
  const below = join(folder, 'below')
  mkdirSync(join(below, 'etc'), { recursive: true })
  writeFileSync(join(below, 'etc/motd'), 'hidden\n')
  writeFileSync(join(below, 'etc/more'), 'more\n')
  const lower = await mksquashfs(below, join(folder, 'below.sqfs'))
  add('layers', await ociSource(folder, 'layers', [lower, lower, squashfs]), UNVERIFIED)
  const archives = await Promise.all(
    [below, tree].map(async (place) => (await run('tar', ['-C', place, '-cf', '-', '.'])).bytes),
  )
  writeTarImage(join(folder, 'tars'), { tag: 'tar', layers: archives })
  add('tar layers', `${join(folder, 'tars')}:tar`, UNVERIFIED, true)
  return { tree, sources }
}

/** Bytes that do not compress, always the same. */
export function noise(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  let state = 7
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    bytes[at] = state >>> 16
  }
  return bytes
}
