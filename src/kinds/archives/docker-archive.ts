import {
  type Container,
  type FindRequest,
  type FoundFiles,
  FsError,
  type ImageFile,
  type NamedSource,
} from '../../base/index.ts'
import {
  DOCKER_MANIFEST,
  type DockerImage,
  diffIdsOf,
  type ImageConfig,
  readDockerConfig,
  selectDockerImage,
} from '../../oci/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { ARCHIVE, ArchiveFile, compressionOf, partOf } from './archive-file.ts'

const NAME = 'docker-archive'
const PREFIX = 'docker-archive:'
/** As `docker save` calls them, compressed or not. */
const LAYER_TYPE = 'application/vnd.docker.image.rootfs.diff.tar'
const DOCUMENT_LIMIT = 4 << 20

/** Images in an archive of `docker save`. Nothing of it is unpacked. */
export const DOCKER_ARCHIVE: Container = {
  name: NAME,
  title: 'an archive of docker save',
  form: 'docker-archive:FILE:NAME',
  prefix: PREFIX,
  ...ARCHIVE,
  read(path, rest = '') {
    const source = { container: NAME, path: absolutePath(path) }
    return rest === '' ? source : { ...source, tag: rest }
  },
  describe: ({ path, tag }) => (tag === undefined ? `${PREFIX}${path}` : `${PREFIX}${path}:${tag}`),
  find: findLayers,
  config: (source) => imageIn(source).config,
}

interface ArchivedImage {
  readonly archive: ArchiveFile
  readonly image: DockerImage
  readonly config: ImageConfig
}

function imageIn({ path, tag = '' }: NamedSource): ArchivedImage {
  const archive = new ArchiveFile(path)
  if (archive.find(DOCKER_MANIFEST) === undefined) {
    throw new FsError('EINVAL', `${path} is no archive of docker save (no file ${DOCKER_MANIFEST} in it)`)
  }
  const read = (file: string, what: string): Buffer => archive.read(file, DOCUMENT_LIMIT, what)
  const image = selectDockerImage(read(DOCKER_MANIFEST, DOCKER_MANIFEST), tag, path)
  return { archive, image, config: readDockerConfig(image, read) }
}

function findLayers(source: NamedSource, { rootHash, name }: FindRequest): FoundFiles {
  if (rootHash !== undefined)
    throw new FsError('EINVAL', `--root-hash: ${name} has tar layers, verified by digests`)
  const { archive, image, config } = imageIn(source)
  const { layers } = image
  const diffIds = diffIdsOf(config, layers.length, `image configuration ${image.config}`)
  if (diffIds === undefined) throw new FsError('EIO', `image configuration ${image.config}: no diff_ids`)
  return {
    layers: layers.map((file, i) =>
      layerIn(archive, file, diffIds[i]?.text ?? '', `layer ${i + 1} of ${layers.length}`),
    ),
    plain: false,
    expectsRootHashes: true,
    imagePaths: [archive.path],
  }
}

/** The configuration names archives without compression; a compressed one is told by its name. */
function layerIn(archive: ArchiveFile, file: string, diffId: string, position: string): ImageFile {
  const place = archive.find(file)
  if (place === undefined) throw new FsError('ENOENT', `${position}: no file ${file} in ${archive.path}`)
  const form = compressionOf(archive.head(place))
  const [, hex] = /(?:^|\/)([0-9a-f]{64})(?:\.tar)?(?:\.\w+)?$/.exec(file) ?? []
  if (form !== undefined && hex === undefined) {
    throw new FsError(
      'EOPNOTSUPP',
      `${position}, ${file}: compressed with ${form}, and nothing says its digest: make an image of it with "atomfs-fuse convert"`,
    )
  }
  const noOther = (digest: string): never => {
    throw new FsError('ENOENT', `${position}: no blob ${digest}`)
  }
  const label = form === undefined ? diffId : `sha256:${hex}`
  const find = (digest: string) => (digest === label ? place : noOther(digest))
  return { ...partOf(archive, place, find), label, kind: 'tar', mediaType: LAYER_TYPE, diffId }
}
