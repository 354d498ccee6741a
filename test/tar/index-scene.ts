import { createHash } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Blobs, BlockReader, ByteSource, Layer } from '../../src/base/index.ts'
import { ExtentReader, FsError } from '../../src/base/index.ts'
import { FileSource } from '../../src/sys/files/file-source.ts'
import { openVerity } from '../../src/verity/index.ts'
import { buildIndex, readTrailer } from '../../tar/index.ts'
import { TAR } from '../../tar/kind.ts'

/** A layer that was indexed, open in this process. */
export interface IndexedLayer {
  readonly layer: Layer
  readonly blocks: BlockReader
  readonly index: string
  readonly blob: string
  /** Bytes of the file that an inode has. */
  read(ref: number, offset: number, length: number): Buffer
}

export function sha256(bytes: Uint8Array): { readonly algorithm: string; readonly hex: string } {
  return { algorithm: 'sha256', hex: createHash('sha256').update(bytes).digest('hex') }
}

/** Indexes a blob in a folder of its own, lends the layer, and removes the folder. @param digest what the blob should have */
export async function withIndexed<T>(
  blob: Uint8Array,
  archive: Uint8Array,
  work: (layer: IndexedLayer) => T | Promise<T>,
  digest = sha256(blob),
): Promise<T> {
  const folder = mkdtempSync(path.join(tmpdir(), 'tar-index-'))
  const fds: number[] = []
  try {
    const files = { blob: path.join(folder, 'blob'), index: path.join(folder, 'index') }
    writeFileSync(files.blob, blob)
    const fd = openSync(files.blob, 'r')
    fds.push(fd)
    const output = openSync(files.index, 'w+')
    fds.push(output)
    const diffId = sha256(archive)
    await buildIndex({ fd, size: blob.length, digest, diffId, label: 'layer' }, output)
    return await work({ ...openIndexed(files.index, files.blob, fds), ...files })
  } finally {
    for (const fd of fds) closeSync(fd)
    rmSync(folder, { recursive: true })
  }
}

/** Opens an index and its blob. @param fds gets what the caller closes */
export function openIndexed(
  indexFile: string,
  blobFile: string,
  fds: number[],
): Pick<IndexedLayer, 'layer' | 'blocks' | 'read'> {
  const open = (file: string): FileSource => {
    const fd = openSync(file, 'r')
    fds.push(fd)
    return new FileSource(fd, path.basename(file))
  }
  const raw = open(indexFile)
  const blob = open(blobFile)
  const { rootHash } = readTrailer(raw.fd, 'index')
  const dataLength = (one: ByteSource): number => TAR.describe(one).bytesUsed
  const source = openVerity({ source: raw, rootHash, dataLength })
  const { detail } = TAR.describe(source)
  const blobs: Blobs = {
    readInto(number, position, target) {
      if (number !== 0) throw new FsError('EIO', `blob ${number}`)
      blob.readInto(position, target)
    },
    sizeOf: () => {
      throw new Error('not asked')
    },
    isAtHand: () => true,
    expect: () => {},
  }
  const session = TAR.open({ details: [detail] })
  const image = { source, sourceId: 0, label: 'layer', detail, blobs }
  const layer = session.openLayer(image)
  const blocks = session.openBlocks(image)
  const reader = new ExtentReader(blocks, () => 0, { cacheSize: 0 })
  return {
    layer,
    blocks,
    read(ref, offset, length) {
      const parts: Buffer[] = []
      reader.read(
        (sink) => layer.extents(ref, offset, length, sink),
        (size) => {
          const part = Buffer.alloc(size)
          parts.push(part)
          return part
        },
      )
      return Buffer.concat(parts)
    },
  }
}
