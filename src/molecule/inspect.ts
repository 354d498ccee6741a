import { opendirSync, statSync } from 'node:fs'
import {
  type ByteSource,
  errnoCodeOf,
  type FoundDirectory,
  FsError,
  type ImageFile,
  isFoundDirectory,
  isImageFile,
  type NamedSource,
  omitUndefined,
  type PathText,
  systemPath,
  withSource,
} from '../base/index.ts'
import { containerNamed } from '../kinds/containers.ts'
import { kindNamed } from '../kinds/kinds.ts'
import { findVeritySuperblock } from '../verity/index.ts'
import { reportChunks } from './blobs/chunk-report.ts'
import { describeLocked } from './encryption/report.ts'
import { closeImage, imageSource, openImage, rawSource, verityOf } from './image-file.ts'
import type { DirectoryReport, InspectReport, LayerReport, VerityReport } from './inspect-report.ts'
import { findFiles } from './resolve.ts'
import { namedSource, withOffset } from './source.ts'
import { type ImageSpec, isHashed, tarReport } from './spec.ts'

/**
 * Describes a source without mounting it. Root hashes are taken from the manifest and are checked as far as the
 * image is read through them.
 * @param source as on the command line, or one that is not read as text any more
 * @param offset byte position of the image in its file
 * @throws FsError with one line; UsageError for an offset where no file is
 */
export function inspectSource(source: string | NamedSource, offset?: number): InspectReport {
  const [named, name] = namedSource(source)
  const listing = offset === undefined ? containerNamed(named.container).list?.(named) : undefined
  const meant = withOffset(named, offset)
  const locked = describeLocked(meant)
  if (listing === undefined && locked.length === 0) return inspectImages(meant, name)
  const encryption = locked.length === 0 ? undefined : locked
  return { ...inspectWhatOpens(meant, name), ...omitUndefined({ listing, encryption }) }
}

/** What lies in a file, and how it is encrypted, is told also where it cannot be mounted. */
function inspectWhatOpens(source: NamedSource, name: PathText): InspectReport {
  try {
    return inspectImages(source, name)
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    return { source: name, layers: [], notMounted: error.message }
  }
}

function inspectImages(source: NamedSource, name: PathText): InspectReport {
  const found = findFiles({ source, name })
  const layers = found.layers.filter(isImageFile).map((file) => inspectFile(file, source))
  const directories = found.layers.filter(isFoundDirectory).map(inspectDirectory)
  const { manifestDigest, remarks } = found
  return {
    source: name,
    layers,
    ...omitUndefined({ manifestDigest, remarks, directory: directories[0] }),
  }
}

function inspectDirectory({ directory: label, what }: FoundDirectory): DirectoryReport {
  try {
    const listing = opendirSync(systemPath(label))
    try {
      let entries = 0
      while (listing.readSync() !== null) entries += 1
      return { kind: 'directory', label, entries }
    } finally {
      listing.closeSync()
    }
  } catch (error) {
    const code = errnoCodeOf(error)
    throw new FsError(code, `${what} ${label} cannot be read: ${code}`, { cause: error })
  }
}

function inspectFile(file: ImageFile, source: NamedSource): LayerReport {
  const spec = openImage(file)
  try {
    const summary = withSource(imageSource(spec), (source) => kindNamed(spec.kind).summarize(source))
    const { label, mediaType } = file
    const stored = isHashed(spec) ? reportChunks(spec, source) : undefined
    return withSource(rawSource(spec), (raw) => {
      const verity = reportVerity(file, spec, raw)
      return {
        ...summary,
        label,
        size: file.blob === undefined ? raw.size : sizeOfFile(file.blob),
        verity,
        ...omitUndefined({ mediaType, offset: offsetOf(spec), stored, tar: tarReport(spec) }),
      }
    })
  } finally {
    closeImage(spec)
  }
}

function sizeOfFile({ path, length }: ImageFile): number {
  return length ?? statSync(systemPath(path)).size
}

function offsetOf({ transforms: [window] }: ImageSpec): number | undefined {
  return window?.kind === 'window' && window.offset > 0 ? window.offset : undefined
}

function reportVerity(file: ImageFile, spec: ImageSpec, raw: ByteSource): VerityReport {
  const table = verityOf(spec)
  if (table !== undefined && file.rootHash !== undefined) {
    return { present: true, algorithm: table.algorithm, rootHash: file.rootHash }
  }
  if (isHashed(spec)) {
    const [algorithm = '', rootHash] = (file.digest ?? '').split(':')
    return rootHash === undefined ? 'no' : { present: true, algorithm, rootHash }
  }
  const tree = findVeritySuperblock(raw, spec.facts.bytesUsed)
  return tree === undefined ? 'no' : { present: true, algorithm: tree.superblock.algorithm }
}
