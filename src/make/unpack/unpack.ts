import { closeSync, fstatSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { FsError, type PathText, systemPath, UsageError, withFsError } from '../../base/index.ts'
import { type Owners, possibleOwners } from '../../contents/index.ts'
import { O_PATH } from '../../sys/files/at.ts'
import { listNames } from '../../sys/files/directory-entries.ts'
import { pwrite } from '../../sys/files/file-io.ts'
import { UnfinishedFile } from '../../sys/files/unfinished-file.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { descriptorPath } from '../../sys/plain/proc.ts'
import { HashedStream } from '../convert/hashed-stream.ts'
import { layerTree } from '../convert/layer-tree.ts'
import { LowerLayers } from '../convert/lower-layers.ts'
import { openSourceImage } from '../convert/open-source.ts'
import type { SourceLayer, SquashfsLayer } from '../convert/source-image.ts'
import { hostTree } from '../host-tree.ts'
import { ShownTree } from '../shown-tree.ts'
import { TarMarks } from '../tar-marks.ts'
import { type LeftOut, nothingLeftOut, type TreeItem } from '../tree-item.ts'
import { asOverlay } from '../whiteouts.ts'
import { LayerDirectory, noCounts, type UnpackCounts } from './layer-directory.ts'

/** How the layers of an image are written into directories. */
export interface UnpackOptions {
  /** By default what the caller may do: `real` as root, else `override`. */
  readonly owners?: Owners | undefined
  readonly platform?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Called before each layer. */
  readonly onLayer?: (position: number, count: number, total: number | undefined) => void
  /** @param done bytes of the layer that were read */
  readonly onProgress?: (done: number) => void
}

export interface UnpackReport extends UnpackCounts {
  /** Directories of the layers, topmost first, absolute. */
  readonly directories: readonly PathText[]
  readonly owners: Owners
}

/**
 * Writes each layer of an image into a directory of its own, `1` for the lowest, as an overlay reads them.
 * @param source as `openSourceImage` takes it
 * @param directory empty, or not there
 * @throws FsError as `openSourceImage` and `layerTree`; ENOTEMPTY for the directory; ENOSPC, EPERM, …
 */
export async function unpack(
  source: string,
  directory: PathText,
  options: UnpackOptions = {},
): Promise<UnpackReport> {
  const own = possibleOwners()
  const { owners = own === 'none' ? 'override' : own, signal, onLayer } = options
  const root = absolutePath(directory)
  // overlayfs takes these with a backslash, and fuse-overlayfs not at all.
  if (/[\\:,]/.test(root)) {
    throw new UsageError(
      `${root}: options of overlays cannot name a path with a colon, a comma or a backslash`,
    )
  }
  const image = await openSourceImage(source, options.platform)
  try {
    const fd = openEmpty(root)
    try {
      const counts = noCounts()
      const made: PathText[] = []
      for (const [i, layer] of image.layers.entries()) {
        signal?.throwIfAborted()
        onLayer?.(i + 1, image.layers.length, 'open' in layer ? layer.size : undefined)
        const path = join(root, String(i + 1))
        const added = await unpackLayer(layer, path, { ...options, owners, below: made, scratch: fd })
        for (const key of Object.keys(counts) as (keyof UnpackCounts)[]) counts[key] += added[key]
        made.push(path)
      }
      return { ...counts, owners, directories: made.toReversed() }
    } finally {
      closeSync(fd)
    }
  } finally {
    image.close()
  }
}

/** The word of overlayfs and fuse-overlayfs that names the layers. @param directories as `unpack` has made them */
export function lowerdirWord(directories: readonly PathText[]): string {
  return `lowerdir=${directories.join(':')}`
}

/** @returns a descriptor of it */
function openEmpty(path: PathText): number {
  withFsError(path, () => {
    try {
      mkdirSync(systemPath(path), { mode: 0o700 })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  })
  const fd = withFsError(path, () => openSync(systemPath(path), O_PATH))
  if (!fstatSync(fd).isDirectory()) {
    closeSync(fd)
    throw new FsError('ENOTDIR', `${path} is no directory`)
  }
  if (listNames(fd).length === 0) return fd
  closeSync(fd)
  throw new FsError('ENOTEMPTY', `${path} is not empty: name another place, or empty it`)
}

/** Where a layer comes, and what it may depend on. */
export interface LayerPlace extends Pick<UnpackOptions, 'signal' | 'onProgress'> {
  readonly owners: Owners
  /** Directories of the layers below, bottom first. */
  readonly below: readonly PathText[]
  /** Descriptor of a directory for files without a name. */
  readonly scratch: number
}

/**
 * Writes one layer into a directory, as an overlay reads it.
 * @param path of the directory, which is made
 * @throws FsError as `unpack`
 */
export async function unpackLayer(
  layer: SourceLayer,
  path: PathText,
  how: LayerPlace,
): Promise<UnpackCounts> {
  withFsError(path, () => mkdirSync(systemPath(path), { mode: 0o700 }))
  const fd = withFsError(path, () => openSync(systemPath(path), O_PATH))
  const lower = new LowerLayers(
    how.below.map((directory) => ({ directory, what: 'layer', followsRedirects: false })),
  )
  const target = new LayerDirectory(fd, how.owners)
  try {
    const leftOut = nothingLeftOut()
    for await (const item of itemsOf(layer, target, lower, leftOut, how)) {
      how.signal?.throwIfAborted()
      await target.add(item)
    }
    target.finish()
    const { leftAttributes } = target.counts
    return { ...target.counts, leftAttributes: leftAttributes + leftOut.attributes }
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    throw new FsError(error.code, `${layer.label}: ${error.message}`, { cause: error })
  } finally {
    lower.close()
    target.close()
    closeSync(fd)
  }
}

async function* itemsOf(
  layer: SourceLayer,
  target: LayerDirectory,
  lower: LowerLayers,
  leftOut: LeftOut,
  { scratch, onProgress }: LayerPlace,
): AsyncGenerator<TreeItem> {
  const marks = (): TarMarks => new TarMarks((path) => target.modeAt(path))
  switch (layer.form) {
    case 'tar':
      yield* layerTree(layer, target, lower, leftOut, onProgress)
      return
    case 'directory':
      yield* asOverlay(hostTree(layer.directory, leftOut, {}), marks())
      return
    case 'tree':
      yield* layer.items(leftOut)
      return
    case 'squashfs': {
      const file = await spool(layer, scratch, onProgress)
      let tree: ShownTree | undefined
      try {
        tree = new ShownTree([{ label: layer.label, path: descriptorPath(file.fd) }], 'stored', leftOut)
        yield* asOverlay(tree.items(), marks())
      } finally {
        tree?.close()
        file.close()
      }
    }
  }
}

/** The blob of a layer in a file without a name: all of it is compared with its digest before anything is read. */
async function spool(
  layer: SquashfsLayer,
  folder: number,
  onProgress: LayerPlace['onProgress'],
): Promise<UnfinishedFile> {
  const { digest, size } = layer
  const file = UnfinishedFile.begin(folder, 'layer', 0o600)
  try {
    const blob = new HashedStream(layer.open(), { digest, size }, onProgress)
    let at = 0
    for await (const piece of blob) {
      for (let done = 0; done < piece.length; ) done += pwrite(file.fd, at + done, piece.subarray(done))
      at += piece.length
    }
    await blob.check('blob')
    return file
  } catch (error) {
    file.close()
    throw error
  }
}
