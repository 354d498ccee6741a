import { createReadStream } from 'node:fs'
import { readSuperblock } from '../../../squashfs/index.ts'
import type { LayerBlob } from '../../../tar/index.ts'
import { type FoundLayer, FsError, omitUndefined } from '../../base/index.ts'
import { openEncoder } from '../../codecs/encode/index.ts'
import type { PrepareOptions, ConvertedLayer as StoredImage } from '../../molecule/index.ts'
import { parseDigest } from '../../oci/index.ts'
import { duplicateDescriptor } from '../../sys/files/descriptor.ts'
import { FileSource } from '../../sys/files/file-source.ts'
import { CompressPool } from '../compress-pool.ts'
import { nothingLeftOut } from '../tree-item.ts'
import { writeImage } from '../write-image.ts'
import { layerTree } from './layer-tree.ts'
import { LowerLayers } from './lower-layers.ts'
import { explain } from './new-layer.ts'
import type { TarLayer } from './source-image.ts'

const READ_AHEAD = 1 << 20
const BLOCK_SIZE = 128 << 10

/** A mount waits for it: what compresses fast, the best first. */
const COMPRESSORS = [
  { name: 'zstd', level: 1, blockSize: BLOCK_SIZE },
  { name: 'gzip', level: 1, blockSize: BLOCK_SIZE },
] as const

/**
 * Makes a squashfs image of a layer that cannot be read in place, for the store.
 * @param below what lies below the layer, bottom first
 * @param output an empty file, which gets the image and its hash tree
 * @throws FsError EIO for a blob that is not what its digest says; as `layerTree`
 */
export async function convertStoredLayer(
  blob: LayerBlob,
  below: readonly FoundLayer[],
  output: number,
  { onProgress, signal }: Pick<PrepareOptions, 'onProgress' | 'signal'>,
): Promise<StoredImage> {
  const settings = compressor()
  const layer = sourceOf(blob)
  const lower = new LowerLayers(below)
  const leftOut = nothingLeftOut()
  const pool = new CompressPool(settings)
  try {
    const { rootHash } = await writeImage(
      { fd: output, label: blob.label },
      pool,
      (writer) => layerTree(layer, writer, lower, leftOut, onProgress),
      leftOut,
      { ...settings, verity: {}, ...omitUndefined({ signal }) },
    )
    if (rootHash === undefined) throw new FsError('EIO', `${blob.label}: an image without a hash tree`)
    const { bytesUsed } = readSuperblock(new FileSource(output, blob.label))
    return { rootHash, dataLength: bytesUsed, dependsOnBelow: lower.wasAsked }
  } catch (error) {
    throw await explain(layer, error)
  } finally {
    lower.close()
    await pool.close()
  }
}

function compressor(): (typeof COMPRESSORS)[number] {
  const [best, other] = COMPRESSORS
  try {
    openEncoder(best)
    return best
  } catch {
    return other
  }
}

function sourceOf({ fd, offset = 0, size, digest, diffId, label }: LayerBlob): TarLayer {
  const text = (one: LayerBlob['digest']): string => `${one.algorithm}:${one.hex}`
  return {
    form: 'tar',
    label,
    digest: parseDigest(text(digest), label),
    diffId: diffId && parseDigest(text(diffId), label),
    size,
    open: () => {
      // A stream closes its descriptor, also where its end is not waited for.
      const place = { fd: duplicateDescriptor(fd), start: offset, end: offset + size - 1 }
      return createReadStream('', { ...place, highWaterMark: READ_AHEAD })
    },
  }
}
