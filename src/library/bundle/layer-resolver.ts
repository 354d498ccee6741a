import { createHash } from 'node:crypto'
import { closeSync, constants } from 'node:fs'
import { join } from 'node:path'
import { complaintOf, isDirectory, type PathText, UsageError } from '../../base/index.ts'
import { type Owners, possibleOwners } from '../../contents/index.ts'
import type { SourceLayer } from '../../make/index.ts'
import { type Digest, parseDigest } from '../../oci/index.ts'
import { syncFd } from '../../sys/files/file-io.ts'
import { assertClosed, Folder } from '../../sys/files/folder.ts'
import { takeNamedLock } from '../../sys/files/lock.ts'
import { syncFolder } from '../../sys/files/new-file.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import type { ImageLayer } from './image-layers.ts'

/** Finds the directory that an overlay reads as a layer. */
export interface LayerResolver {
  /** @param parents the layers below, bottom first. @returns an absolute path */
  resolve(layer: ImageLayer, ...parents: readonly ImageLayer[]): Promise<PathText>
}

/** How layers are written into directories. */
export interface LayerResolverOptions {
  /** By default what the caller may do: `real` as root, else `override`. */
  readonly owners?: Owners | undefined
  /** Ends the work, which throws its reason. */
  readonly signal?: AbortSignal | undefined
}

const MODE = 0o700

/**
 * Layers as directories that overlays of other programs take (`unpack`), each written when it is first asked for. A layer
 * is named by itself and those below it, as the chain of image-spec (config.md, "Layer ChainID"): directories without an
 * entry of their own, and hard links to files of a layer below, are taken from what is below. Mounts of this program need
 * none of it.
 */
export class CachingLayerResolver implements LayerResolver {
  readonly #root: PathText
  readonly #options: LayerResolverOptions

  /** @param root folder for the directories, which is made with the first one, for its owner alone */
  constructor(root: PathText, options: LayerResolverOptions = {}) {
    const complaint = complaintOf('root', root)
    if (complaint !== undefined) throw new UsageError(complaint)
    this.#root = absolutePath(root)
    this.#options = options
  }

  /**
   * The directory of a layer, `ROOT/ALGORITHM/HEX`. One that is missing is written, and those of its parents as well;
   * a process that wants one that another writes waits for it. It has its name when it is whole and on the disk.
   * @param parents the layers below, bottom first
   * @throws FsError EIO for a layer that is not what its digest says; as `unpack`; EPERM for a folder that others can
   *   write to. Nothing of the layer is left then
   */
  async resolve(layer: ImageLayer, ...parents: readonly ImageLayer[]): Promise<PathText> {
    const below: PathText[] = []
    let chain: Digest | undefined
    for (const one of parents) {
      chain = nextChain(chain, one)
      below.push(await this.#find(chain, one, below))
    }
    return await this.#find(nextChain(chain, layer), layer, below)
  }

  async #find(chain: Digest, layer: ImageLayer, below: readonly PathText[]): Promise<PathText> {
    const folder = this.#folder(chain.algorithm)
    try {
      if (!hasDirectory(folder, chain.hex)) {
        const unlock = await takeNamedLock(folder, `${chain.hex}.lock`, this.#options.signal)
        try {
          // Somebody else has written it while this process waited.
          if (!hasDirectory(folder, chain.hex)) await this.#write(folder, chain.hex, layer, below)
        } finally {
          unlock()
        }
      }
      return folder.pathOf(chain.hex)
    } finally {
      folder.close()
    }
  }

  #folder(algorithm: string): Folder {
    const root = Folder.open(this.#root, { guarded: true, make: MODE })
    try {
      assertClosed(root)
      return root.make(algorithm, MODE)
    } finally {
      root.close()
    }
  }

  async #write(folder: Folder, name: string, layer: ImageLayer, below: readonly PathText[]): Promise<void> {
    const { unpackLayer } = await import('../../make/index.ts')
    const { signal, owners = ownersHere() } = this.#options
    const unfinished = `${name}.part`
    // Of a process that was killed: who has the lock is alone.
    folder.remove(unfinished)
    try {
      const how = { owners, below, scratch: folder.fd, ...(signal && { signal }) }
      await unpackLayer(sourceLayer(layer), join(folder.path, unfinished), how)
      const fd = folder.openFile(unfinished, constants.O_RDONLY | constants.O_DIRECTORY)
      try {
        syncFd(fd, 'file system')
      } finally {
        closeSync(fd)
      }
      folder.rename(unfinished, folder, name)
      syncFolder(folder.fd)
    } catch (error) {
      folder.remove(unfinished)
      throw error
    }
  }
}

function ownersHere(): Owners {
  const own = possibleOwners()
  return own === 'none' ? 'override' : own
}

function hasDirectory(folder: Folder, name: string): boolean {
  return isDirectory(folder.statOf(name)?.mode ?? 0)
}

/** @throws FsError EIO for a digest that is none; UsageError for what is no layer */
function nextChain(below: Digest | undefined, layer: ImageLayer): Digest {
  if (typeof layer !== 'object' || layer === null || typeof layer.diffId !== 'string') {
    throw new UsageError('a layer must be an object with a diffId: openImageLayers gives those of an image')
  }
  const own = parseDigest(layer.diffId, 'layer')
  if (below === undefined) return own
  const hex = createHash('sha256').update(`${below.text} ${own.text}`).digest('hex')
  return parseDigest(`sha256:${hex}`, 'chain of layers')
}

function sourceLayer(layer: ImageLayer): SourceLayer {
  const digest = parseDigest(layer.diffId, 'layer')
  const common = { label: `layer ${layer.diffId}`, open: () => layer.open() }
  return layer.form === 'squashfs'
    ? { ...common, form: 'squashfs', digest }
    : { ...common, form: 'tar', diffId: digest }
}
