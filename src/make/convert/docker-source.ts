import { FsError, type PathText } from '../../base/index.ts'
import {
  ConfigSchema,
  DOCKER_MANIFEST,
  diffIdsOf,
  digestOf,
  parseDocument,
  quote,
  selectDockerImage,
} from '../../oci/index.ts'
import { ArchiveFiles } from './archive-files.ts'
import type { SourceImage } from './source-image.ts'

/**
 * An image of an archive of `docker save`, as `docker-archive:` of other programs.
 * @param reference `NAME:TAG`, `@N`, or nothing for the only image
 * @throws FsError ENOENT, EINVAL, EIO for damage
 */
export async function dockerImage(path: PathText, reference: string): Promise<SourceImage> {
  const files = await ArchiveFiles.open(path)
  try {
    const manifest = files.document(DOCKER_MANIFEST)
    if (manifest === undefined) {
      throw new FsError('EINVAL', `${path} is no archive of docker save (no file ${DOCKER_MANIFEST} in it)`)
    }
    const image = selectDockerImage(manifest, reference, path)
    const config = configOf(files, image.config)
    const count = image.layers.length
    const diffIds = diffIdsOf(config, count, `image configuration ${image.config}`)
    if (diffIds === undefined) throw new FsError('EIO', `image configuration ${image.config}: no diff_ids`)
    const layers = image.layers.map((file, i) => {
      const label = `layer ${i + 1} of ${count}, ${file}`
      const diffId = diffIds[i]
      const open = (): AsyncIterable<Uint8Array> => files.stream(file)
      return { form: 'tar' as const, label, diffId, size: files.sizeOf(file), open }
    })
    return { config, layers, close: () => files.close() }
  } catch (error) {
    files.close()
    throw error
  }
}

/** The configuration: its name says its digest. */
function configOf(files: ArchiveFiles, path: string): ReturnType<typeof parseDocument<typeof ConfigSchema>> {
  const where = `image configuration ${path}`
  const bytes = files.document(path)
  if (bytes === undefined) throw new FsError('ENOENT', `${where}: no such document in ${files.label}`)
  const [, hex] = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(path) ?? []
  const actual = digestOf(bytes, 'sha256')
  if (hex !== undefined && actual !== `sha256:${hex}`) {
    throw new FsError('EIO', `${where}: content has digest ${quote(actual)}, the archive is damaged`)
  }
  return parseDocument(ConfigSchema, bytes, where)
}
