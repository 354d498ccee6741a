import { createHash } from 'node:crypto'
import { lstatSync, lutimesSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { readXattrs } from '../programs/native.ts'
import { run } from '../programs/process.ts'
import {
  CONFIG_MEDIA_TYPE,
  createLayout,
  type Descriptor,
  MANIFEST_MEDIA_TYPE,
  putDocument,
  writeIndex,
} from './oci-layout.ts'

export const TAR_GZIP_MEDIA_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip'

/**
 * Archives a directory that is a layer of overlayfs in the form of OCI: whiteouts become names with `.wh.`, opaque
 * directories (`user.overlay.opaque`) get a file `.wh..wh..opq`. The directory is changed for that.
 */
export async function archiveLayer(layer: string): Promise<Buffer> {
  exchangeMarks(Buffer.from(layer))
  const attributes = ['--xattrs', '--xattrs-include=*', '--xattrs-exclude=user.overlay.*']
  return (
    await run('tar', ['--format=posix', ...attributes, '--numeric-owner', '-C', layer, '-cf', '-', '.'])
  ).bytes
}

function exchangeMarks(directory: Buffer): void {
  const { atimeMs, mtimeMs } = lstatSync(directory)
  for (const name of readdirSync(directory, { encoding: 'buffer' })) {
    const path = Buffer.concat([directory, Buffer.from('/'), name])
    const stat = lstatSync(path)
    if (stat.isDirectory()) exchangeMarks(path)
    else if (stat.isCharacterDevice() && stat.rdev === 0) {
      rmSync(path)
      writeFileSync(Buffer.concat([directory, Buffer.from('/.wh.'), name]), '')
    }
  }
  if (readXattrs(directory)['user.overlay.opaque'] !== undefined) {
    writeFileSync(Buffer.concat([directory, Buffer.from('/.wh..wh..opq')]), '')
  }
  lutimesSync(directory, atimeMs / 1000, mtimeMs / 1000)
}

/** A layer that goes into a layout as it is. */
export interface StoredLayer {
  readonly bytes: Buffer
  readonly mediaType: string
  readonly annotations?: Readonly<Record<string, string>>
}

export interface TarImage {
  readonly tag: string
  /** Archives without compression, and others, bottom first. */
  readonly layers: readonly (Buffer | StoredLayer)[]
  readonly mediaType?: string
  /** What an archive becomes in the layout; gzip if absent. */
  readonly compress?: (archive: Buffer, layer: number) => Buffer
  readonly config?: object
}

/** Writes an image of tar layers as the only one of a layout. */
export function writeTarImage(ociDir: string, image: TarImage): void {
  const { compress = (archive) => gzipSync(archive), mediaType = TAR_GZIP_MEDIA_TYPE } = image
  createLayout(ociDir)
  const layers = image.layers.map((layer, i): Descriptor => {
    const stored = Buffer.isBuffer(layer) ? { bytes: compress(layer, i), mediaType } : layer
    const { bytes, ...others } = stored
    const hex = sha256(bytes)
    writeFileSync(join(ociDir, 'blobs/sha256', hex), bytes)
    return { ...others, digest: `sha256:${hex}`, size: bytes.length }
  })
  const diffIds = image.layers.map(
    (layer) => `sha256:${sha256(Buffer.isBuffer(layer) ? layer : layer.bytes)}`,
  )
  const rootfs = { type: 'layers', diff_ids: diffIds }
  const config = putDocument(ociDir, CONFIG_MEDIA_TYPE, {
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs,
    ...image.config,
  })
  const manifest = { schemaVersion: 2, mediaType: MANIFEST_MEDIA_TYPE, config, layers }
  writeIndex(ociDir, [
    {
      ...putDocument(ociDir, MANIFEST_MEDIA_TYPE, manifest),
      annotations: { 'org.opencontainers.image.ref.name': image.tag },
    },
  ])
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
