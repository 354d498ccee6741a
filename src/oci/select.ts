import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { FsError } from '../base/index.ts'
import { DOCUMENT_LIMIT, readDocumentBlob, readSmallFile } from './blob.ts'
import { quote } from './digest.ts'
import { isIndexType, isManifestType } from './media-type.ts'
import { formatPlatform, matchesPlatform, type Platform } from './platform.ts'
import { type Descriptor, type ImageIndex, IndexSchema, LayoutSchema, parseDocument } from './schema.ts'

/** Where a layout keeps its tags (annotations.md, pre-defined keys). */
const REF_NAME = 'org.opencontainers.image.ref.name'

/** Nested indexes below index.json. One level is usual; an honest image has no reason for more than a few. */
const DEPTH_LIMIT = 8
/** Documents read in the search for one manifest: bounds an index that fans out at every level. */
const DOCUMENT_COUNT_LIMIT = 256

/** index.json of a layout whose version we know. @throws FsError EIO, ENOENT */
export function readLayoutIndex(ociDir: string): ImageIndex {
  if (!existsSync(join(ociDir, 'oci-layout'))) {
    const what = existsSync(ociDir) ? 'is no OCI image layout (it has no file oci-layout)' : 'does not exist'
    throw new FsError('ENOENT', `image directory ${quote(ociDir)} ${what}`)
  }
  const marker = parseDocument(
    LayoutSchema,
    readSmallFile(join(ociDir, 'oci-layout'), 64 * 1024, 'oci-layout'),
    'oci-layout',
  )
  if (!/^1\.0\.\d+/.test(marker.imageLayoutVersion)) {
    throw new FsError(
      'EOPNOTSUPP',
      `${ociDir}: image layout version ${quote(marker.imageLayoutVersion)} is not supported, only 1.0.x is`,
    )
  }
  return parseIndex(readSmallFile(join(ociDir, 'index.json'), DOCUMENT_LIMIT, 'index.json'), 'index.json')
}

/** The tags of a layout in byte order, each once. */
export function tagsOf(index: ImageIndex): readonly string[] {
  const tags = new Set<string>()
  for (const descriptor of index.manifests) {
    const tag = descriptor.annotations?.[REF_NAME]
    if (tag !== undefined) tags.add(tag)
  }
  return [...tags].sort()
}

/**
 * The descriptor of the image manifest that a tag names, through nested indexes.
 * @param wanted decides between the entries of an index; `explicit` where the caller asked for it.
 * @throws FsError ENOENT where there is no such tag or platform, EINVAL where the tag is ambiguous, EIO on damage.
 */
export function selectManifest(
  ociDir: string,
  index: ImageIndex,
  tag: string,
  wanted: Platform,
  explicit: boolean,
): Descriptor {
  const top = selectTag(ociDir, index, tag, wanted)
  if (isManifestType(top.mediaType)) {
    if (explicit && top.platform && !matchesPlatform(wanted, top.platform)) {
      throw new FsError(
        'ENOENT',
        `${ociDir}: tag ${quote(tag)} is for ${formatPlatform(top.platform)}, not for ${formatPlatform(wanted)}`,
      )
    }
    return top
  }
  const offered = new Set<string>()
  const budget = { documents: DOCUMENT_COUNT_LIMIT }
  const found = searchIndex(ociDir, top, wanted, 1, budget, offered)
  if (found !== undefined) return found
  const list = offered.size === 0 ? 'none' : [...offered].sort().slice(0, 32).join(', ')
  throw new FsError(
    'ENOENT',
    `${ociDir}: tag ${quote(tag)} has no image for platform ${formatPlatform(wanted)}; platforms in it: ${list}`,
  )
}

function selectTag(ociDir: string, index: ImageIndex, tag: string, wanted: Platform): Descriptor {
  const named = index.manifests.filter((descriptor) => descriptor.annotations?.[REF_NAME] === tag)
  const first = named[0]
  if (first === undefined) {
    const tags = tagsOf(index)
    const list = tags.slice(0, 32).map(quote).join(', ') + (tags.length > 32 ? ', …' : '')
    throw new FsError('ENOENT', `${ociDir}: no tag ${quote(tag)}; tags in it: ${list || 'none'}`)
  }
  const usable = named.filter(({ mediaType }) => isManifestType(mediaType) || isIndexType(mediaType))
  if (usable.length === 0) {
    throw new FsError(
      'EOPNOTSUPP',
      `${ociDir}: tag ${quote(tag)} has media type ${quote(first.mediaType)}, which is neither an image manifest nor an index`,
    )
  }
  const one = onlyDigest(usable)
  if (one !== undefined) return one
  // Some writers give every platform's manifest the same tag instead of nesting an index.
  const fitting = onlyDigest(usable.filter(({ platform }) => platform && matchesPlatform(wanted, platform)))
  if (fitting !== undefined) return fitting
  const digests = [...new Set(usable.map(({ digest }) => digest.slice(0, 23)))].slice(0, 8).join(', ')
  throw new FsError(
    'EINVAL',
    `${ociDir}: tag ${quote(tag)} is ambiguous, index.json has it for different images (${digests}): remove all but one`,
  )
}

/** The first entry where all have the same digest; undefined otherwise. */
function onlyDigest(descriptors: readonly Descriptor[]): Descriptor | undefined {
  const first = descriptors[0]
  return descriptors.every(({ digest }) => digest === first?.digest) ? first : undefined
}

/** Depth first, in the order of the index: "the first matching entry" (image-index.md, `manifests`). */
function searchIndex(
  ociDir: string,
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
    readDocumentBlob(ociDir, descriptor, 'image index'),
    `image index ${descriptor.digest}`,
  )
  const entries = index.manifests.filter(
    ({ mediaType }) => isManifestType(mediaType) || isIndexType(mediaType),
  )
  for (const entry of entries) {
    if (entry.platform) {
      offered.add(formatPlatform(entry.platform))
      if (!matchesPlatform(wanted, entry.platform)) continue
    } else if (isManifestType(entry.mediaType) && entries.length > 1) {
      // Made for nobody in particular: taken only where there is nothing to choose from.
      continue
    }
    if (isManifestType(entry.mediaType)) return entry
    const found = searchIndex(ociDir, entry, wanted, depth + 1, budget, offered)
    if (found !== undefined) return found
  }
  return undefined
}

function parseIndex(bytes: Uint8Array, where: string): ImageIndex {
  const index = parseDocument(IndexSchema, bytes, where)
  if (index.mediaType !== undefined && !isIndexType(index.mediaType)) {
    throw new FsError('EIO', `${where}: media type ${quote(index.mediaType)} in an image index`)
  }
  // A document that is index and manifest at once means different things to different readers (CVE-2021-41190).
  if ('layers' in index || 'config' in index)
    throw new FsError('EIO', `${where}: image index with layers or config`)
  return index
}
