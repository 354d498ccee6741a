import { createHash } from 'node:crypto'
import { ChunkReader, ChunkScratch } from '../../../puzzlefs/chunks/chunk-reader.ts'
import { PuzzleImage } from '../../../puzzlefs/image.ts'
import {
  type Blobs,
  type ByteSource,
  ExtentReader,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type Stat,
} from '../../../src/base/index.ts'
import { openCodec } from '../../../src/codecs/index.ts'

/** Blobs of a layout in memory, by their digests in hex. */
export type BlobStore = ReadonlyMap<string, Uint8Array>

/** What there is at one path. An error is told in its place. */
export interface WalkedFile {
  readonly path: string
  readonly stat: Stat
  readonly xattrs: Readonly<Record<string, string>>
  readonly target?: string
  readonly sha256?: string
}

/** What a walk looks at, at most: a damaged tree may be endless. */
export interface WalkLimits {
  readonly names: number
  readonly fileBytes: number
}

const WHOLE: WalkLimits = { names: 1e6, fileBytes: 2 ** 40 }
const PIECE = 1 << 20

export function hexOf(binary: string): string {
  return Buffer.from(binary, 'latin1').toString('hex')
}

/** An image with the reader of its chunks. */
export function openPuzzle(
  source: ByteSource,
  blobs: BlobStore = new Map(),
): { readonly image: PuzzleImage; readonly reader: ChunkReader } {
  const image = new PuzzleImage({ source, sourceId: 0, label: 'image' })
  const table = image.rootfs.chunks
  const bytesOf = (index: number): Uint8Array => {
    const bytes = blobs.get(hexOf(table.digest(index)))
    if (bytes === undefined) throw new FsError('EIO', `no blob ${index}`)
    return bytes
  }
  const opened: Blobs = {
    sizeOf: (index) => bytesOf(index).length,
    readInto: (index, position, target) =>
      target.set(bytesOf(index).subarray(position, position + target.length)),
    isAtHand: () => true,
    expect: () => {},
  }
  const codec = openCodec('zstd')
  const options = {
    label: 'image',
    table,
    blobs: opened,
    checks: undefined,
    codec,
    scratch: new ChunkScratch(),
  }
  return { image, reader: new ChunkReader(options) }
}

/** Walks all names of an image. @throws FsError where it cannot be opened; any error that is no FsError */
export function walkPuzzle(
  source: ByteSource,
  blobs?: BlobStore,
  limits: WalkLimits = WHOLE,
): readonly (WalkedFile | { readonly path: string; readonly error: string })[] {
  const { image, reader } = openPuzzle(source, blobs)
  const content = new ExtentReader(reader, () => 0, { cacheSize: 0 })
  const sumOf = (ref: number, size: number): string => {
    const sum = createHash('sha256')
    for (let at = 0; at < Math.min(size, limits.fileBytes); at += PIECE) {
      const pieces: Uint8Array[] = []
      content.read(
        (sink) => image.extents(ref, at, PIECE, sink),
        (length) => {
          pieces.push(new Uint8Array(length))
          return pieces.at(-1)!
        },
      )
      for (const piece of pieces) sum.update(piece)
    }
    return sum.digest('hex')
  }
  const found: (WalkedFile | { path: string; error: string })[] = []
  const pending = [{ ref: image.root, path: '' }]
  const entered = new Set<number>()
  for (let next = pending.pop(); next !== undefined && found.length < limits.names; next = pending.pop()) {
    const { ref, path } = next
    try {
      const stat = image.stat(ref)
      const xattrs = Object.fromEntries(
        image.listxattr(ref).map((name) => [name, Buffer.from(image.getxattr(ref, name)!).toString('hex')]),
      )
      const target = isSymlink(stat.mode) ? Buffer.from(image.readlink(ref)).toString('latin1') : undefined
      const sha256 = isRegular(stat.mode) ? sumOf(ref, stat.size) : undefined
      found.push({
        path,
        stat,
        xattrs,
        ...(target !== undefined && { target }),
        ...(sha256 !== undefined && { sha256 }),
      })
      if (!isDirectory(stat.mode) || entered.has(ref)) continue
      entered.add(ref)
      const cursor = image.openDirectory(ref, 0)
      for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
        if (found.length + pending.length > limits.names) break
        const first = image.lookup(ref, entry.name)
        if (entry.unsorted !== true && first?.ref !== entry.ref) throw new Error(`${entry.name} is not found`)
        pending.push({ ref: entry.ref, path: `${path}/${entry.name}` })
      }
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      found.push({ path, error: error.code })
    }
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1))
}
