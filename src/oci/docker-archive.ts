import * as v from 'valibot'
import { FsError } from '../base/index.ts'
import { digestOf, quote } from './digest.ts'
import { ConfigSchema, type ImageConfig, parseDocument } from './schema.ts'

/** One image of an archive of `docker save`, as its manifest.json describes it. */
export interface DockerImage {
  /** Path of the configuration in the archive. */
  readonly config: string
  /** Paths of the layers, bottom first. */
  readonly layers: readonly string[]
}

/** The file that says what is in such an archive. */
export const DOCKER_MANIFEST = 'manifest.json'

const Path = v.pipe(v.string(), v.minLength(1), v.maxLength(4096))
const DockerManifestSchema = v.array(
  v.looseObject({ Config: Path, RepoTags: v.nullish(v.array(v.string())), Layers: v.array(Path) }),
)
const TAGS_SHOWN = 32

/**
 * Finds an image of an archive.
 * @param document manifest.json
 * @param reference `NAME:TAG`, `@N` for the image at that place from 0, or nothing for the only one
 * @throws FsError ENOENT, EINVAL where it is ambiguous, EIO for damage
 */
export function selectDockerImage(document: Uint8Array, reference: string, archive: string): DockerImage {
  const images = parseDocument(DockerManifestSchema, document, `${archive}: ${DOCKER_MANIFEST}`)
  const names = images.flatMap(({ RepoTags }) => RepoTags ?? [])
  const listed = `images in it: ${names.slice(0, TAGS_SHOWN).map(quote).join(', ') || 'none with a name'}`
  const found = images.filter((image, i) => {
    if (reference === '') return true
    if (reference.startsWith('@')) return reference === `@${i}`
    return (image.RepoTags ?? []).some((name) => isSameName(name, reference))
  })
  const [first] = found
  if (first === undefined) {
    throw new FsError('ENOENT', `${archive}: no image ${quote(reference)}; ${listed}`)
  }
  if (found.length > 1) {
    throw new FsError('EINVAL', `${archive} holds several images: name one behind a colon; ${listed}`)
  }
  return { config: first.Config, layers: first.Layers }
}

/**
 * The configuration of an image: its name says its digest.
 * @param read a document of the archive, whole. @throws FsError what `read` throws; EIO for damage
 */
export function readDockerConfig(
  { config: path }: DockerImage,
  read: (path: string, what: string) => Uint8Array,
): ImageConfig {
  const where = `image configuration ${path}`
  const bytes = read(path, where)
  const [, hex] = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(path) ?? []
  const actual = digestOf(bytes, 'sha256')
  if (hex !== undefined && actual !== `sha256:${hex}`) {
    throw new FsError('EIO', `${where}: content has digest ${quote(actual)}, the archive is damaged`)
  }
  return parseDocument(ConfigSchema, bytes, where)
}

/** Docker leaves out its own registry, the folder of its own images, and the tag `latest`. */
function isSameName(one: string, other: string): boolean {
  return fullName(one) === fullName(other)
}

function fullName(name: string): string {
  const tagged = /:[^/]*$/.test(name) ? name : `${name}:latest`
  return tagged.replace(/^docker\.io\//, '').replace(/^library\//, '')
}
