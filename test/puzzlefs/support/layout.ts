import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fsVerityDigest } from '../../../src/verity/index.ts'
import { createLayout, writeIndex } from '../../library/images/oci-layout.ts'
import { type StoredChunk, stored } from './chunks.ts'

export const ROOTFS_TYPE = 'application/vnd.puzzlefs.image.rootfs.v1'
const CHUNK_TYPE = 'application/vnd.puzzlefs.image.filedata.v1'
const ANNOTATION = 'io.puzzlefsoci.puzzlefs.puzzlefs_verity_root_hash'
const EMPTY = stored(Buffer.from('{}'))

/** An image of a layout. */
export interface PuzzleDefinition {
  readonly tag: string
  readonly rootfs: Buffer
  readonly chunks: readonly StoredChunk[]
  /** Media type of the metadata; that of the present version if absent. */
  readonly rootfsType?: string
  /** Writes no digest of the metadata into the manifest. */
  readonly withoutAnnotation?: boolean
}

/**
 * Writes a layout as puzzlefs does. Nothing is checked: the metadata may be damaged.
 * @returns the fs-verity digests of the manifests, hex
 */
export function writePuzzleLayout(ociDir: string, images: readonly PuzzleDefinition[]): readonly string[] {
  createLayout(ociDir)
  mkdirSync(ociDir, { recursive: true })
  const put = ({ bytes, hex }: StoredChunk, mediaType: string, annotations?: object): object => {
    writeFileSync(join(ociDir, 'blobs/sha256', hex), bytes)
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length, ...(annotations && { annotations }) }
  }
  const digests: string[] = []
  const manifests = images.map(({ tag, rootfs, chunks, rootfsType = ROOTFS_TYPE, withoutAnnotation }) => {
    const metadata = stored(rootfs)
    const annotations = { [ANNOTATION]: metadata.verity.toString('hex') }
    const config = put(EMPTY, 'application/vnd.oci.empty.v1+json')
    const layers = [
      ...chunks.slice(0, 1).map((chunk) => put(chunk, CHUNK_TYPE)),
      put(metadata, rootfsType, withoutAnnotation === true ? undefined : annotations),
      ...chunks.slice(1).map((chunk) => put(chunk, CHUNK_TYPE)),
    ]
    const manifest = stored(Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers })))
    digests.push(fsVerityDigest(manifest.bytes))
    writeFileSync(join(ociDir, 'blobs/sha256', manifest.hex), manifest.bytes)
    return {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: `sha256:${manifest.hex}`,
      size: manifest.bytes.length,
      annotations: { 'org.opencontainers.image.ref.name': tag },
    }
  })
  writeIndex(ociDir, manifests)
  return digests
}
