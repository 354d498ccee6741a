import { FsError } from '../base/index.ts'
import { DOCUMENT_LIMIT, readDocument, readDocumentBlob } from './blob.ts'
import { looksLikeDigest, parseDigest, quote } from './digest.ts'
import type { LayoutFiles } from './layout.ts'
import { INDEX_TYPE, isIndexType, isManifestType, MANIFEST_TYPE } from './media-type.ts'
import { formatPlatform, matchesPlatform, type Platform } from './platform.ts'
import {
  type Descriptor,
  DocumentSchema,
  type ImageIndex,
  IndexSchema,
  LayoutSchema,
  parseDocument,
  VersionSchema,
} from './schema.ts'

/** `schemaVersion` of an index that led to metadata of PuzzleFS without a manifest, until 0.1.0. */
const OLD_PUZZLEFS = -1

/** Where a layout keeps its tags (annotations.md, pre-defined keys). */
export const REF_NAME = 'org.opencontainers.image.ref.name'

/** Characters of `sha512:` and its digits. */
const LONGEST_DIGEST = 135

/** Nested indexes below index.json. One level is usual; an honest image has no reason for more than a few. */
const DEPTH_LIMIT = 8
/** Documents read in the search for one manifest: bounds an index that fans out at every level. */
const DOCUMENT_COUNT_LIMIT = 256

/** index.json of a layout whose version we know. @throws FsError EIO, ENOENT */
export function readLayoutIndex(layout: LayoutFiles): ImageIndex {
  const marker = parseDocument(
    LayoutSchema,
    layout.read(['oci-layout'], 64 * 1024, 'oci-layout'),
    'oci-layout',
  )
  if (!/^1\.0\.\d+/.test(marker.imageLayoutVersion)) {
    throw new FsError(
      'EOPNOTSUPP',
      `${layout.name}: image layout version ${quote(marker.imageLayoutVersion)} is not supported, only 1.0.x is`,
    )
  }
  return parseIndex(layout.read(['index.json'], DOCUMENT_LIMIT, 'index.json'), 'index.json')
}

/** The tags of a layout in byte order, each once. */
export function tagsOf(index: ImageIndex): readonly string[] {
  const tags = new Set<string>()
  for (const descriptor of index.manifests) {
    const tag = tagOf(descriptor)
    if (tag !== undefined) tags.add(tag)
  }
  return [...tags].sort()
}

/**
 * The descriptor of the image manifest that a reference names, through nested indexes.
 * @param reference a tag, a digest, or nothing for the only image
 * @param wanted decides between the entries of an index; `explicit` where the caller asked for it.
 * @throws FsError ENOENT where there is no such image or platform, EINVAL where it is ambiguous, EIO on damage.
 */
export function selectManifest(
  layout: LayoutFiles,
  index: ImageIndex,
  reference: string,
  wanted: Platform,
  explicit: boolean,
): Descriptor {
  const top = selectTop(layout, index, reference, wanted)
  const name = looksLikeDigest(reference)
    ? reference
    : reference === ''
      ? 'the image'
      : `tag ${quote(reference)}`
  if (isManifestType(top.mediaType)) {
    if (explicit && top.platform && !matchesPlatform(wanted, top.platform)) {
      throw new FsError(
        'ENOENT',
        `${layout.name}: ${name} is for ${formatPlatform(top.platform)}, not for ${formatPlatform(wanted)}`,
      )
    }
    return top
  }
  const offered = new Set<string>()
  const budget = { documents: DOCUMENT_COUNT_LIMIT }
  const found = searchIndex(layout, top, wanted, 1, budget, offered)
  if (found !== undefined) return found
  const list = offered.size === 0 ? 'none' : [...offered].sort().slice(0, 32).join(', ')
  throw new FsError(
    'ENOENT',
    `${layout.name}: ${name} has no image for platform ${formatPlatform(wanted)}; platforms in it: ${list}`,
  )
}

function selectTop(layout: LayoutFiles, index: ImageIndex, reference: string, wanted: Platform): Descriptor {
  if (looksLikeDigest(reference)) return describeByDigest(layout, index, reference)
  return reference === '' ? selectOnly(layout, index, wanted) : selectTag(layout, index, reference, wanted)
}

/**
 * An image by the digest of its manifest or index. It needs no entry in index.json: the digest vouches for the bytes.
 * A tag of the same text has no say.
 */
function describeByDigest(layout: LayoutFiles, index: ImageIndex, reference: string): Descriptor {
  const digest = parseDigest(reference, `image ${quote(reference)}`)
  const listed = index.manifests.find(
    (entry) =>
      entry.digest === digest.text && (isManifestType(entry.mediaType) || isIndexType(entry.mediaType)),
  )
  if (listed !== undefined) return listed
  const where = `image ${digest.text}`
  const bytes = readDocument(layout, digest, where)
  const document = parseDocument(DocumentSchema, bytes, where)
  const mediaType = document.mediaType ?? ('manifests' in document ? INDEX_TYPE : MANIFEST_TYPE)
  if (isManifestType(mediaType) || isIndexType(mediaType)) {
    return { mediaType, digest: digest.text, size: bytes.length }
  }
  throw new FsError('EOPNOTSUPP', `${where} ${notAnImage(mediaType)}`)
}

function selectOnly(layout: LayoutFiles, index: ImageIndex, wanted: Platform): Descriptor {
  const usable = imagesOf(index.manifests)
  if (usable.length === 0) throw new FsError('ENOENT', `${layout.name} holds no image`)
  const isOneName = new Set(usable.map(tagOf)).size === 1
  const one = onlyDigest(usable) ?? (isOneName ? onlyFitting(usable, wanted) : undefined)
  if (one !== undefined) return one
  throw new FsError(
    'EINVAL',
    `${layout.name} holds several images: give OCIDIR:TAG or OCIDIR@DIGEST; ${contentOf(index)}`,
  )
}

function selectTag(layout: LayoutFiles, index: ImageIndex, tag: string, wanted: Platform): Descriptor {
  const named = index.manifests.filter((descriptor) => tagOf(descriptor) === tag)
  const first = named[0]
  if (first === undefined) {
    throw new FsError('ENOENT', `${layout.name}: no tag ${quote(tag)}; ${contentOf(index)}`)
  }
  const usable = imagesOf(named)
  if (usable.length === 0) {
    throw new FsError('EOPNOTSUPP', `${layout.name}: tag ${quote(tag)} ${notAnImage(first.mediaType)}`)
  }
  const one = onlyDigest(usable) ?? onlyFitting(usable, wanted)
  if (one !== undefined) return one
  const digests = [...new Set(usable.map(({ digest }) => digest.slice(0, 23)))].slice(0, 8).join(', ')
  throw new FsError(
    'EINVAL',
    `${layout.name}: tag ${quote(tag)} is ambiguous, index.json has it for different images (${digests}): remove all but one`,
  )
}

/** What there is to choose from, for messages. */
export function contentOf(index: ImageIndex): string {
  const tags = tagsOf(index)
  const named = tags.slice(0, 32).map(quote).join(', ') + (tags.length > 32 ? ', …' : '')
  const images = imagesOf(index.manifests)
  const tagged = new Set(images.filter((image) => tagOf(image) !== undefined).map(({ digest }) => digest))
  const digests = [...new Set(images.map(({ digest }) => digest))].filter((digest) => !tagged.has(digest))
  const without =
    digests
      .slice(0, 4)
      .map((digest) => digest.slice(0, LONGEST_DIGEST))
      .join(', ') + (digests.length > 4 ? ', …' : '')
  return `tags in it: ${named || 'none'}${without === '' ? '' : `; without a tag: ${without}`}`
}

function tagOf({ annotations }: Descriptor): string | undefined {
  return annotations?.[REF_NAME]
}

function imagesOf(descriptors: readonly Descriptor[]): readonly Descriptor[] {
  return descriptors.filter(({ mediaType }) => isManifestType(mediaType) || isIndexType(mediaType))
}

function notAnImage(mediaType: string): string {
  return `has media type ${quote(mediaType)}, which is neither an image manifest nor an index`
}

/** Some writers give every platform's manifest the same tag, or none, instead of nesting an index. */
function onlyFitting(descriptors: readonly Descriptor[], wanted: Platform): Descriptor | undefined {
  return onlyDigest(descriptors.filter(({ platform }) => platform && matchesPlatform(wanted, platform)))
}

/** The first entry where all have the same digest; undefined otherwise. */
function onlyDigest(descriptors: readonly Descriptor[]): Descriptor | undefined {
  const first = descriptors[0]
  return descriptors.every(({ digest }) => digest === first?.digest) ? first : undefined
}

/** Depth first, in the order of the index: "the first matching entry" (image-index.md, `manifests`). */
function searchIndex(
  layout: LayoutFiles,
  descriptor: Descriptor,
  wanted: Platform,
  depth: number,
  budget: { documents: number },
  offered: Set<string>,
): Descriptor | undefined {
  if (depth > DEPTH_LIMIT) {
    throw new FsError('EIO', `image index ${descriptor.digest}: nested more than ${DEPTH_LIMIT} deep`)
  }
  budget.documents -= 1
  if (budget.documents < 0) {
    throw new FsError(
      'EIO',
      `image index ${descriptor.digest}: more than ${DOCUMENT_COUNT_LIMIT} nested indexes`,
    )
  }
  const index = parseIndex(
    readDocumentBlob(layout, descriptor, 'image index'),
    `image index ${descriptor.digest}`,
  )
  const entries = imagesOf(index.manifests)
  for (const entry of entries) {
    if (entry.platform) {
      offered.add(formatPlatform(entry.platform))
      if (!matchesPlatform(wanted, entry.platform)) continue
    } else if (isManifestType(entry.mediaType) && entries.length > 1) {
      // Its platform is not known: it is taken only if there is nothing to choose from.
      continue
    }
    if (isManifestType(entry.mediaType)) return entry
    const found = searchIndex(layout, entry, wanted, depth + 1, budget, offered)
    if (found !== undefined) return found
  }
  return undefined
}

function parseIndex(bytes: Uint8Array, where: string): ImageIndex {
  const { schemaVersion } = parseDocument(VersionSchema, bytes, where)
  if (schemaVersion === OLD_PUZZLEFS) {
    throw new FsError(
      'EOPNOTSUPP',
      `${where}: a PuzzleFS layout of version 2, expected 3: build the image again`,
    )
  }
  const index = parseDocument(IndexSchema, bytes, where)
  if (index.mediaType !== undefined && !isIndexType(index.mediaType)) {
    throw new FsError('EIO', `${where}: media type ${quote(index.mediaType)} in an image index`)
  }
  // A document that is index and manifest at once means different things to different readers (CVE-2021-41190).
  if ('layers' in index || 'config' in index)
    throw new FsError('EIO', `${where}: image index with layers or config`)
  return index
}
