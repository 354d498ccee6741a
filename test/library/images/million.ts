import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { tarEnd, tarEntry } from './tar-entry.ts'

/**
 * A merged tree of any size that exists only as a rule: two layers that overlap and a third that deletes. The rule
 * writes the layers as tar streams, and tells what the merge must show for each path.
 */
export interface MillionShape {
  /** Directories `dNNNN`. */
  readonly directories: number
  /** Names that each directory has over all layers; a multiple of 100. */
  readonly names: number
  /** Files in the one wide directory. */
  readonly wide: number
}

/** 1 000 × 990 + 10 000 = 1 000 000 files. */
export const MILLION: MillionShape = { directories: 1000, names: 1000, wide: 10_000 }
/** 100 × 495 + 500 = 50 000 files. */
export const SMALL: MillionShape = { directories: 100, names: 500, wide: 500 }

/** What one path of the merge shows. */
export interface ExpectedFile {
  readonly mode: number
  readonly uid: number
  readonly mtime: number
  readonly content: string
}

/** Files that the merge shows. */
export function fileCount({ directories, names, wide }: MillionShape): number {
  return directories * names * 0.99 + wide
}

/** Of `names` names, the lower layer has the first 60 %, the upper one the last 50 %: a tenth is replaced. */
function holds(shape: MillionShape, layer: number, name: number): boolean {
  return layer === 0 ? name < shape.names * 0.6 : name >= shape.names * 0.5
}

function isDeleted(name: number): boolean {
  return name % 100 === 99
}

function fileOf(layer: number, directory: number, name: number): ExpectedFile {
  return {
    mode: layer === 0 ? 0o644 : 0o755,
    uid: name % 7,
    mtime: 1_000_000_000 + directory * 1000 + name,
    // One in ten has content, so that the stream stays short.
    content: name % 10 === 3 ? `layer ${layer} directory ${directory} name ${name}\n` : '',
  }
}

const directoryName = (i: number) => `d${String(i).padStart(4, '0')}`
const fileName = (i: number) => `file-${String(i).padStart(6, '0')}`

/** @returns what stands at a path `dNNNN/file-NNNNNN` or `wide/file-NNNNNN`; undefined where nothing may */
export function expectedAt(shape: MillionShape, path: string): ExpectedFile | undefined {
  const match = /^(wide|d(\d{4}))\/file-(\d{6})$/.exec(path)
  if (match === null) return undefined
  const name = Number(match[3])
  if (match[1] === 'wide') return name < shape.wide ? fileOf(2, 9999, name) : undefined
  const directory = Number(match[2])
  if (directory >= shape.directories || name >= shape.names || isDeleted(name)) return undefined
  return fileOf(holds(shape, 1, name) ? 1 : 0, directory, name)
}

/** Layer 0, 1 or 2 as pieces of a tar archive. */
export function* archive(shape: MillionShape, layer: number): Generator<Buffer> {
  for (let d = 0; d < shape.directories; d += 1) {
    const pieces = [
      tarEntry({ path: directoryName(d), type: 'directory', mode: 0o755, uid: 0, mtime: d + 1 }),
    ]
    for (let n = 0; n < shape.names; n += 1) {
      const path = `${directoryName(d)}/${fileName(n)}`
      if (layer === 2) {
        if (isDeleted(n)) pieces.push(tarEntry({ path, type: 'whiteout', mode: 0, uid: 0, mtime: 0 }))
      } else if (holds(shape, layer, n)) pieces.push(tarEntry({ path, type: 'file', ...fileOf(layer, d, n) }))
    }
    yield Buffer.concat(pieces)
  }
  if (layer === 2) {
    yield tarEntry({ path: 'wide', type: 'directory', mode: 0o700, uid: 1, mtime: 7 })
    for (let n = 0; n < shape.wide; n += 1) {
      yield tarEntry({ path: `wide/${fileName(n)}`, type: 'file', ...fileOf(2, 9999, n) })
    }
  }
  yield tarEnd()
}

/** Packs one layer with tar2sqfs, through a pipe: no file of the tree is ever on disk. */
export async function packLayer(
  shape: MillionShape,
  layer: number,
  image: string,
  timeout: number,
): Promise<void> {
  const packer = spawn('tar2sqfs', ['-f', '-q', '-c', 'zstd', image], {
    stdio: ['pipe', 'ignore', 'pipe'],
    timeout,
  })
  let errors = ''
  packer.stderr.on('data', (piece: Buffer) => {
    errors += piece.toString()
  })
  // A packer that ends early tells so by its status.
  packer.stdin.on('error', () => {})
  const exit = once(packer, 'close')
  for (const piece of archive(shape, layer)) {
    if (packer.stdin.destroyed) break
    if (!packer.stdin.write(piece)) await Promise.race([once(packer.stdin, 'drain'), exit])
  }
  packer.stdin.end()
  const [status] = (await exit) as [number | null]
  if (status !== 0) throw new Error(`tar2sqfs ${image}: status ${status}: ${errors.trim()}`)
}
