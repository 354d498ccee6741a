import { type ByteSource, omitUndefined } from '../base/index.ts'
import { kindNamed } from '../kinds/kinds.ts'
import { findVeritySuperblock } from '../verity/index.ts'
import { closeImage, type ImageFile, imageSource, openImage, rawSource, verityOf } from './image-file.ts'
import type { InspectReport, LayerReport, VerityReport } from './inspect-report.ts'
import { findFiles } from './resolve.ts'
import { type NamedSource, namedSource, withOffset } from './source.ts'
import type { ImageSpec } from './spec.ts'

/**
 * Describes an image without mounting it. Root hashes are taken from the manifest and are checked as far as the
 * image is read through them.
 * @param source as on the command line, or one that is not read as text any more
 * @param offset byte position of the image in its file
 * @throws FsError with one line; UsageError for an offset in an OCI image
 */
export function inspectSource(source: string | NamedSource, offset?: number): InspectReport {
  const [named, name] = namedSource(source)
  const found = findFiles({ source: withOffset(named, offset), name })
  const layers = found.files.map((file, i): LayerReport => {
    const mediaType = found.mediaTypes[i]
    return { ...inspectFile(file), ...omitUndefined({ mediaType }) }
  })
  const { manifestDigest } = found
  return { source: name, layers, ...omitUndefined({ manifestDigest }) }
}

function inspectFile(file: ImageFile): LayerReport {
  const spec = openImage(file)
  try {
    const raw = rawSource(spec)
    const summary = kindNamed(spec.kind).summarize(imageSource(spec))
    return { ...summary, label: file.label, size: raw.size, verity: reportVerity(file, spec, raw) }
  } finally {
    closeImage(spec)
  }
}

function reportVerity(file: ImageFile, spec: ImageSpec, raw: ByteSource): VerityReport {
  const table = verityOf(spec)
  if (table !== undefined && file.rootHash !== undefined) {
    return { present: true, algorithm: table.algorithm, rootHash: file.rootHash }
  }
  const tree = findVeritySuperblock(raw, spec.facts.bytesUsed)
  return tree === undefined ? 'no' : { present: true, algorithm: tree.superblock.algorithm }
}
