import { join } from 'node:path'
import { complaintOf, omitUndefined, type PathText, UsageError } from '../../base/index.ts'
import type { Bundle, BundleRequest } from '../../bundle/index.ts'
import { ensureDir } from '../atomfs/index.ts'
import { type RuntimeSpecOption, specOf } from './options.ts'

/** How all bundles of one place are made. */
export interface CachingBundlerOptions
  extends Pick<BundleRequest, 'allowMissingVerity' | 'verify' | 'size' | 'metadataDir'> {}

/** What a runtime takes as the name of a container; it becomes the name of a directory. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/

/** Makes bundles of images in one place, `ROOT/c/ID` each. Nothing of an image is extracted, so nothing is cached there. */
export class CachingBundler {
  readonly #root: PathText
  readonly #options: CachingBundlerOptions

  /** @param root folder for bundles, which is made when the first one is */
  constructor(root: PathText, options: CachingBundlerOptions = {}) {
    const complaint = complaintOf('root', root)
    if (complaint !== undefined) throw new UsageError(complaint)
    this.#root = root
    this.#options = options
  }

  /**
   * Makes the bundle of a container.
   * @param image as `mount` takes it
   * @param id of the container: letters, digits, `_`, `.`, `-`
   * @throws FsError as `createBundle`: EEXIST where there is one of that id; UsageError for an id that is none
   */
  async bundle(
    image: BundleRequest['source'],
    id: string,
    ...options: readonly RuntimeSpecOption[]
  ): Promise<Bundle> {
    if (!ID.test(id)) {
      throw new UsageError(`id ${JSON.stringify(id)}: letters, digits, '_', '.' and '-' are needed, 1 to 128`)
    }
    const spec = specOf(options)
    const containers = join(this.#root, 'c')
    ensureDir(this.#root)
    ensureDir(containers)
    // Programs that only mount load none of it.
    const { createBundle } = await import('../../bundle/index.ts')
    return await createBundle({
      source: image,
      directory: join(containers, id),
      spec,
      ...omitUndefined({ ...this.#options }),
    })
  }
}
