import { createHash } from 'node:crypto'
import { readSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { FsError } from '../../src/base/index.ts'
import { openFrameDecoder } from '../../src/codecs/frames/index.ts'
import { openRawInflate } from '../../src/codecs/inflate/index.ts'
import { appendVerityData } from '../../src/verity/index.ts'
import { type Form, VERSION } from '../format/layout.ts'
import { writeTrailer } from '../format/trailer.ts'
import { scanGzip } from '../gzip/gzip-scan.ts'
import { readTar } from '../read/tar-reader.ts'
import { scanZstd } from '../zstd/zstd-scan.ts'
import { BlobHash } from './blob-hash.ts'
import { IndexWriter, type Needs } from './index-writer.ts'
import type { Moves } from './layer-tree.ts'
import { NotEnterable } from './not-enterable.ts'

/** A digest of a manifest or a configuration. */
export interface WantedDigest {
  /** `sha256` or `sha512`. */
  readonly algorithm: string
  readonly hex: string
}

/** The blob of a layer. */
export interface LayerBlob {
  /** Open for reading. */
  readonly fd: number
  /** Byte of the file at which the blob begins; 0 if absent. */
  readonly offset?: number
  /** Bytes. */
  readonly size: number
  readonly digest: WantedDigest
  /** Of the archive without compression; not compared if absent. */
  readonly diffId?: WantedDigest
  /** For messages. */
  readonly label: string
}

export interface BuildOptions {
  /** @param done bytes of the blob */
  readonly onProgress?: (done: number) => void
  readonly signal?: AbortSignal
  /** Where directories belong that the layer only implies, over certain layers. */
  readonly moves?: Moves
  /** Most bytes of the index, about. */
  readonly limit?: number
}

/** Bytes read at a time: whole blocks of the hash tree. */
const CHUNK = 1 << 20
const HEAD = 6

/** How a blob begins, in each form. What begins otherwise is an archive as it is. */
const BEGINNINGS: readonly (readonly [form: Form | 'xz' | 'bzip2', begins: (head: Buffer) => boolean])[] = [
  ['gzip', (head) => head.readUInt16BE(0) === 0x1f8b],
  // A frame, or one to be skipped (RFC 8878, 3.1).
  ['zstd', (head) => head.readUInt32LE(0) === 0xfd2f_b528 || head.readUInt32LE(0) >>> 4 === 0x184_d2a5],
  ['xz', (head) => head.toString('latin1') === '\xfd7zXZ\0'],
  ['bzip2', (head) => head.toString('latin1', 0, 3) === 'BZh'],
]

/**
 * Indexes a layer in one pass over its blob, which compares size, digest and diffID.
 * @param output an empty file, open for reading and writing, which gets the index
 * @returns what the layer needs of the layers below
 * @throws FsError EIO for a blob that is not what it must be or is damaged; EINVAL for an archive that no tree can be made
 *   of; NotEnterable for a form of compression that cannot be entered; the reason of the signal. `output` is then undefined
 */
export async function buildIndex(
  blob: LayerBlob,
  output: number,
  options: BuildOptions = {},
): Promise<Needs> {
  try {
    return await index(blob, output, options)
  } catch (error) {
    if (!(error instanceof FsError) || error instanceof NotEnterable) throw error
    throw new FsError(error.code, `${blob.label}: ${error.message}`, { cause: error })
  }
}

async function index(blob: LayerBlob, output: number, options: BuildOptions): Promise<Needs> {
  const { onProgress, signal, moves, limit } = options
  const { size, digest, diffId } = blob
  if (size === 0) throw new FsError('EINVAL', 'an empty blob, which is no archive')
  const form = formOf(blob)
  const hash = new BlobHash(digest.algorithm, size, output)
  const writer = new IndexWriter(output, hash.treeEnd, moves, limit)
  const chunks = chunksOf(blob, hash)
  const archiveHash = createHash(diffId?.algorithm ?? 'sha256')
  let archiveSize = 0
  const pieces = async function* (): AsyncGenerator<Uint8Array> {
    let told = 0
    for (const piece of DECODE[form](chunks.next, writer)) {
      if (diffId !== undefined) archiveHash.update(piece)
      archiveSize += piece.length
      yield piece
      if (chunks.done() - told < CHUNK) continue
      told = chunks.done()
      onProgress?.(told)
      // Signals and timers come in between.
      await nextTurn()
      signal?.throwIfAborted()
    }
  }
  for await (const entry of readTar(pieces())) writer.tree.add(entry)
  // What follows the end of the archive was read as well.
  const found = hash.finish()
  compare('blob', digest, found.digest)
  if (diffId !== undefined) compare('archive in it', diffId, archiveHash.digest('hex'))
  const { size: dataLength, needs } = writer.finish({
    form,
    digest: `${digest.algorithm}:${digest.hex}`,
    blobSize: size,
    archiveSize,
    blobRootHash: found.rootHash,
  })
  onProgress?.(size)
  signal?.throwIfAborted()
  const salt = Buffer.from(found.rootHash, 'hex')
  const uuid = '00000000-0000-0000-0000-000000000000'
  const { rootHash } = appendVerityData(output, { salt, uuid, dataLength })
  writeTrailer(output, { rootHash, version: VERSION, needs, dataLength })
  return needs
}

function compare(what: string, { algorithm, hex }: WantedDigest, found: string): void {
  if (found === hex) return
  throw new FsError('EIO', `the ${what} has the digest ${algorithm}:${found}, expected ${algorithm}:${hex}`)
}

/** @throws NotEnterable */
function formOf(blob: LayerBlob): Form {
  const head = Buffer.alloc(HEAD)
  readSync(blob.fd, head, 0, Math.min(HEAD, blob.size), blob.offset ?? 0)
  const [form] = BEGINNINGS.find(([, begins]) => begins(head)) ?? ['plain']
  if (form === 'xz' || form === 'bzip2') throw new NotEnterable(form)
  return form
}

type Chunks = () => Uint8Array | undefined

/** The archive in the chunks of a blob; the writer gets the places where it can be entered. */
const DECODE: Readonly<Record<Form, (next: Chunks, writer: IndexWriter) => Generator<Uint8Array>>> = {
  *plain(next) {
    for (let chunk = next(); chunk !== undefined; chunk = next()) yield Buffer.from(chunk)
  },
  *gzip(next, writer) {
    const inflate = openRawInflate()
    try {
      yield* scanGzip(next, inflate, (point) => writer.addCheckpoint(point))
    } finally {
      inflate.close()
    }
  },
  *zstd(next, writer) {
    const decoder = openFrameDecoder()
    try {
      yield* scanZstd(next, decoder, (point) => writer.addCheckpoint(point))
    } finally {
      decoder.close()
    }
  },
}

/** The chunks of a blob, hashed. All lie in the same memory. */
function chunksOf(
  { fd, offset = 0, size }: LayerBlob,
  hash: BlobHash,
): { readonly next: () => Uint8Array | undefined; readonly done: () => number } {
  const chunk = Buffer.alloc(Math.min(CHUNK, size))
  let done = 0
  const next = (): Uint8Array | undefined => {
    const wanted = Math.min(chunk.length, size - done)
    if (wanted === 0) return undefined
    for (let filled = 0; filled < wanted; ) {
      const count = readSync(fd, chunk, filled, wanted - filled, offset + done + filled)
      if (count === 0) throw new FsError('EIO', `the blob ends at byte ${done + filled} of ${size}`)
      filled += count
    }
    done += wanted
    const part = chunk.subarray(0, wanted)
    hash.add(part)
    return part
  }
  return { next, done: () => done }
}
