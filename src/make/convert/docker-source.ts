import { FsError, type PathText } from '../../base/index.ts'
import { DOCKER_MANIFEST, diffIdsOf, readDockerConfig, selectDockerImage } from '../../oci/index.ts'
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
    const config = readDockerConfig(image, (file, what) => {
      const bytes = files.document(file)
      if (bytes === undefined) throw new FsError('ENOENT', `${what}: no such document in ${files.label}`)
      return bytes
    })
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
