import type { PathText } from '../../base/index.ts'
import type { ApplyCounts, ApplyOptions } from '../../make/index.ts'
import { assertPaths } from '../atomfs/index.ts'

/** Lays layers in archives over directories. */
export class TarballApplicator {
  readonly #options: Pick<ApplyOptions, 'owners'>

  /** @param options for all of its archives */
  constructor(options: Pick<ApplyOptions, 'owners'> = {}) {
    this.#options = options
  }

  /**
   * Lays one layer over a directory: what comes in it is made, and what its whiteouts and opaque marks name is taken away,
   * if it was there before. All layers of an image, one after the other, make its tree. Nothing outside of the directory
   * is changed, whatever the archive and links in the directory say.
   * @param tarball plain, or compressed with gzip, zstd, xz or bzip2; a `Readable` is one
   * @returns what was made and removed, counted
   * @throws FsError EINVAL for an archive that no tree can be made of, EIO for a damaged one; ENOENT, ENOTDIR for the
   *   directory; ENOSPC, EPERM, …; the reason of the signal. What was made till then stays
   */
  async apply(
    tarball: AsyncIterable<Uint8Array>,
    root: PathText,
    options: Pick<ApplyOptions, 'signal'> = {},
  ): Promise<ApplyCounts> {
    assertPaths({ root })
    const { applyLayer } = await import('../../make/index.ts')
    return await applyLayer(tarball, root, { ...this.#options, ...options })
  }
}
