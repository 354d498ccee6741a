import {
  type Container,
  type FindRequest,
  type FoundFiles,
  FsError,
  type ImageFile,
  type NamedSource,
  omitUndefined,
} from '../../base/index.ts'
import { looksLikeDigest } from '../../oci/digest.ts'
import {
  assertFewLayers,
  blobPathOf,
  type Digest,
  diffIdsOf,
  isTarLayer,
  layerKind,
  parseDigest,
  quote,
  readDocuments,
  rootHashOf,
} from '../../oci/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { ARCHIVE, ArchiveFile, layoutInArchive, type Place, partOf } from './archive-file.ts'

const NAME = 'oci-archive'
const PREFIX = 'oci-archive:'

/** An image layout in a tar archive, as other programs write it. Nothing of it is unpacked. */
export const OCI_ARCHIVE: Container = {
  name: NAME,
  title: 'an archive of an OCI image layout',
  form: 'oci-archive:FILE:TAG',
  prefix: PREFIX,
  ...ARCHIVE,
  read(path, rest = '') {
    const source = { container: NAME, path: absolutePath(path) }
    if (rest === '') return source
    return looksLikeDigest(rest) ? { ...source, digest: rest } : { ...source, tag: rest }
  },
  describe({ path, tag, digest }) {
    if (digest !== undefined) return `${PREFIX}${path}@${digest}`
    return tag === undefined ? `${PREFIX}${path}` : `${PREFIX}${path}:${tag}`
  },
  find: findLayers,
  config: ({ path, tag, digest }) =>
    readDocuments(layoutInArchive(new ArchiveFile(path)), digest ?? tag ?? '').config,
}

function findLayers({ path, tag, digest }: NamedSource, wanted: FindRequest): FoundFiles {
  const archive = new ArchiveFile(path)
  const layout = layoutInArchive(archive)
  const { descriptor, manifest, config } = readDocuments(layout, digest ?? tag ?? '')
  const { mediaTypes, rootHash, name } = wanted
  const { layers } = manifest
  const isSingle = layers.some(({ mediaType }) => mediaTypes.standsAlone?.(mediaType) === true)
  if (isSingle)
    throw new FsError('EOPNOTSUPP', `${name}: its image has to lie in a layout: unpack the archive`)
  assertFewLayers(manifest, descriptor)
  if (rootHash !== undefined && layers.length > 1) {
    throw new FsError('EINVAL', `--root-hash is for one layer, ${name} has ${layers.length}`)
  }
  const hasArchives = layers.some(({ mediaType }) => isTarLayer(mediaType))
  const where = `image configuration ${manifest.config.digest}`
  const diffIds = hasArchives ? diffIdsOf(config, layers.length, where) : undefined
  return {
    layers: layers.map((layer, i): ImageFile => {
      const { mediaType, size, annotations } = layer
      const position = `layer ${i + 1} of ${layers.length}`
      const kind = mediaTypes.kindOf(mediaType)
      if (kind === undefined) {
        const reason = layerKind(mediaType) ?? 'not known'
        throw new FsError(
          'EOPNOTSUPP',
          `${position}: media type ${quote(mediaType)} is ${reason}; can mount only ${mediaTypes.known}`,
        )
      }
      const blob = parseDigest(layer.digest, position)
      const place = placeOf(archive, blob, `${position}, ${blob.text}`)
      if (place.length !== size) {
        throw new FsError(
          'EIO',
          `${position}, ${blob.text}: the manifest says ${size} bytes, and the archive has ${place.length}`,
        )
      }
      const diffId = isTarLayer(mediaType) ? diffIds?.[i]?.text : undefined
      const ownHash = rootHashOf(annotations ?? {}, position) ?? rootHash
      return {
        ...partOf(archive, place, (other) => placeOf(archive, parseDigest(other, position), position)),
        label: blob.text,
        kind,
        mediaType,
        ...omitUndefined({ diffId, rootHash: ownHash }),
      }
    }),
    plain: false,
    expectsRootHashes: true,
    imagePaths: [path],
    manifestDigest: descriptor.digest,
  }
}

function placeOf(archive: ArchiveFile, digest: Digest, what: string): Place {
  const place = archive.find(blobPathOf(digest).join('/'))
  if (place !== undefined) return place
  throw new FsError('ENOENT', `${what}: its blob is not in ${archive.path}`)
}
