import { closeSync } from 'node:fs'
import {
  type BlockStore,
  type FileSystem,
  type NamedSource,
  omitUndefined,
  type PartChoice,
  type PathText,
} from '../base/index.ts'
import {
  BlobKeepers,
  type IdRule,
  layerDescriptors,
  type MoleculeSpec,
  openMolecule,
  prepareSource,
  resolveMolecule,
  type VerifyMode,
} from '../molecule/index.ts'
import { namedSource, withOffset, withParts } from '../molecule/source.ts'

/** What is to be read without a mount. */
export interface ContentsRequest {
  /** As on the command line, or one that is not read as text any more. */
  readonly source: string | NamedSource
  /** Hex; for an image file, or an OCI image of one layer. */
  readonly rootHash?: string | undefined
  /** Reads layers of a layout without a root hash unverified. Never excuses a mismatch. */
  readonly allowMissingVerity?: boolean | undefined
  /** By default each block is verified when it is read. */
  readonly verify?: VerifyMode | undefined
  readonly options?: {
    /** Byte position of the image in its file. */
    readonly offset?: number | undefined
    /** Which parts of a file with several images. */
    readonly parts?: PartChoice | undefined
    /** Directory of the image that counts as its root. */
    readonly subdir?: PathText | undefined
    /** Owner to show: one for everything, or by ranges. */
    readonly uid?: IdRule | undefined
    readonly gid?: IdRule | undefined
  }
}

/** The tree that a mount of a source would show, open in this thread. */
export interface Contents {
  /** What the user calls the source. */
  readonly name: PathText
  readonly spec: MoleculeSpec
  readonly fileSystem: FileSystem
  readonly store: BlockStore
  /** Opens the blobs of images, also for other threads. */
  readonly blobs: BlobKeepers
  close(): void
}

/**
 * Opens a source as a mount does: layers are merged, and read through their root hashes. Waits for the disk.
 * @throws FsError with one line, as a mount; UsageError for a source that makes no sense
 */
export function openContents(request: ContentsRequest): Contents {
  const { offset: _, parts: __, ...options } = request.options ?? {}
  const { source, name } = sourceOf(request)
  const spec = resolveMolecule({
    source,
    name,
    allowMissingVerity: request.allowMissingVerity ?? false,
    rootHash: request.rootHash,
    verify: request.verify ?? 'lazy',
    options,
  })
  const closeFiles = (): void => {
    for (const fd of new Set(layerDescriptors(spec))) closeSync(fd)
  }
  try {
    const blobs = new BlobKeepers(spec)
    const { fileSystem, store, closeLayers } = openMolecule(spec, {
      askForBlob: (image, blob, wish) => blobs.open(image, blob, wish),
    })
    const close = (): void => {
      closeLayers()
      closeFiles()
    }
    return { name, spec, fileSystem, store, blobs, close }
  } catch (error) {
    closeFiles()
    throw error
  }
}

/**
 * Makes what reading a source needs besides the source: indexes of layers that are archives.
 * @throws FsError as `prepareSource`; UsageError for a source that makes no sense
 */
export async function prepareContents(request: ContentsRequest, signal?: AbortSignal): Promise<void> {
  await prepareSource(sourceOf(request).source, omitUndefined({ signal }))
}

function sourceOf({ source, options = {} }: ContentsRequest): { source: NamedSource; name: PathText } {
  const [named, name] = namedSource(source)
  const { offset, parts = {} } = options
  return { source: withOffset(withParts(named, parts), offset), name }
}
