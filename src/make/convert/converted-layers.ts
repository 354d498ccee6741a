import { createHash } from 'node:crypto'
import { closeSync } from 'node:fs'
import { unlessFailed } from '../../base/index.ts'
import {
  type Descriptor,
  isManifestType,
  type Manifest,
  openLayerBlob,
  parseDigest,
  readManifest,
} from '../../oci/index.ts'
import type { LayoutWriter } from '../../oci/write/index.ts'
import type { ImageOptions } from '../write-image.ts'

/** Annotations of a converted layer: what it was made of, and how. */
const SOURCE = 'org.atomfs-fuse.convert.source'
const OPTIONS = 'org.atomfs-fuse.convert.options'
/** Where the layer was completed with what the layers below have. */
const BELOW = 'org.atomfs-fuse.convert.below'

/** Manifests of a layout that are looked through. */
const MANIFESTS_MAX = 1024

/** What a converted layer is made of. */
export interface Origin {
  /** Digest of the layer in the source, `algorithm:hex`. */
  readonly source: string
  readonly options: string
  /** Digest over the layers below; it counts only where the layer depends on them. */
  readonly below: string
}

/** By which a later conversion knows a layer that was made of the same blob in the same way. */
export function originAnnotations(origin: Origin, dependsOnLower: boolean): Record<string, string> {
  return {
    [SOURCE]: origin.source,
    [OPTIONS]: origin.options,
    ...(dependsOnLower ? { [BELOW]: origin.below } : {}),
  }
}

/** What of the options decides about the bytes of a layer. */
export function describeOptions({ threads: _, signal: __, onProgress: ___, ...rest }: ImageOptions): string {
  return Object.entries(rest)
    .filter(([, value]) => value !== undefined && value !== false)
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .filter((text) => text !== 'root={}')
    .sort()
    .join(' ')
}

/** A digest over some layers. @param digests bottom first */
export function digestOfLayers(digests: readonly string[]): string {
  return `sha256:${createHash('sha256').update(digests.join('\n')).digest('hex')}`
}

/** The layers of a layout that were converted before. */
export class ConvertedLayers {
  readonly #layout: LayoutWriter['present']
  readonly #layers: readonly Descriptor[]

  constructor({ present }: LayoutWriter) {
    this.#layout = present
    this.#layers = present === undefined ? [] : [...manifestsOf(present)].flatMap(({ layers }) => layers)
  }

  /** One of the same origin whose blob is there. */
  find(origin: Origin): Descriptor | undefined {
    return this.#layers.find((layer) => {
      const { [SOURCE]: source, [OPTIONS]: options, [BELOW]: below } = layer.annotations ?? {}
      if (source !== origin.source || options !== origin.options) return false
      return (below === undefined || below === origin.below) && this.has(layer)
    })
  }

  /** Whether the blob of a layer is there, by its name and size. */
  has({ digest, size }: Pick<Descriptor, 'digest' | 'size'>): boolean {
    const ociDir = this.#layout?.files.name
    if (ociDir === undefined) return false
    const fd = unlessFailed(() => openLayerBlob(ociDir, parseDigest(digest, 'layer'), size, 'layer'))
    if (fd !== undefined) closeSync(fd)
    return fd !== undefined
  }
}

/** Those that are damaged or missing are passed over: nothing of them is needed. */
function* manifestsOf({ files, index }: NonNullable<LayoutWriter['present']>): Generator<Manifest> {
  for (const descriptor of index.manifests.slice(0, MANIFESTS_MAX)) {
    if (!isManifestType(descriptor.mediaType)) continue
    const manifest = unlessFailed(() => readManifest(files, descriptor))
    if (manifest !== undefined) yield manifest
  }
}
