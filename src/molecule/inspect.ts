import fs from 'node:fs'
import { openCodec, readSuperblock, SquashfsImage, summarize } from '../../squashfs/index.ts'
import { findVeritySuperblock } from '../verity/index.ts'
import { type ImageFile, imageSource, type OpenImage, openImage, rawSource } from './image-file.ts'
import type { InspectReport, LayerReport, VerityReport } from './inspect-report.ts'
import { findFiles } from './resolve.ts'

/**
 * Describes an image without mounting it. Root hashes are taken from the manifest and are checked as far as the
 * superblock is read through them.
 * @throws FsError with one line
 */
export function inspectSource(source: string, offset?: number): InspectReport {
  const found = findFiles({ source, options: offset === undefined ? {} : { offset } })
  const layers = found.files.map((file, i): LayerReport => {
    const mediaType = found.mediaTypes[i]
    return { ...inspectFile(file), ...(mediaType === undefined ? {} : { mediaType }) }
  })
  const { manifestDigest } = found
  return { source, layers, ...(manifestDigest === undefined ? {} : { manifestDigest }) }
}

function inspectFile(file: ImageFile): LayerReport {
  const opened = openImage(file)
  const { spec } = opened
  try {
    const source = imageSource(spec)
    const codec = openCodec(spec.compressor)
    const summary = summarize(new SquashfsImage({ source, sourceId: 0, label: file.label, codec }))
    return { label: file.label, size: spec.size, ...summary, verity: verityOf(file, opened) }
  } finally {
    fs.closeSync(spec.fd)
  }
}

function verityOf(file: ImageFile, { spec }: OpenImage): VerityReport {
  if (spec.verity !== undefined && file.rootHash !== undefined) {
    return { present: true, algorithm: spec.verity.algorithm, rootHash: file.rootHash }
  }
  const raw = rawSource(spec)
  const tree = findVeritySuperblock(raw, readSuperblock(raw).bytesUsed)
  return tree === undefined ? 'no' : { present: true, algorithm: tree.superblock.algorithm }
}
