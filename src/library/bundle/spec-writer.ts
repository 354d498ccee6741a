import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type PathText, systemPath, withFsError } from '../../base/index.ts'
import type { BundleRequest, RuntimeSpec } from '../../bundle/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { type RuntimeSpecOption, specOf } from './options.ts'

/** Writes `config.json` of bundles whose root file system somebody else makes. */
export class RuntimeSpecWriter {
  /**
   * Writes `config.json` into a directory, for a container of an image as the caller of this process may run it. The root
   * file system is `rootfs` beside it. Mode 0600; a file that is there is overwritten.
   * @returns what was written
   * @throws FsError as `createBundle`, and what the system said of the file; UsageError
   */
  async write(
    bundle: PathText,
    image: Pick<BundleRequest, 'source' | 'allowMissingVerity'>,
    ...options: readonly RuntimeSpecOption[]
  ): Promise<RuntimeSpec> {
    const { describeContainer } = await import('../../bundle/index.ts')
    const spec = await describeContainer(image, specOf(options))
    const file = join(absolutePath(bundle), 'config.json')
    withFsError(file, () =>
      writeFileSync(systemPath(file), `${JSON.stringify(spec, undefined, 2)}\n`, { mode: 0o600 }),
    )
    return spec
  }
}
