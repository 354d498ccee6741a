import { enableFsVerity as enable } from '../../molecule/index.ts'
import { parseRootHash } from '../../request/index.ts'
import { formatLines } from '../print/format.ts'
import { print } from '../print/output.ts'

/**
 * Runs `puzzlefs enable-fs-verity`: the kernel verifies the files of an image, where it can.
 * @param digest the fs-verity digest of the manifest
 * @throws FsError with one clear line
 */
export async function enableFsVerity(source: string, digest: string): Promise<number> {
  const { files, enabled } = enable(source, parseRootHash(digest))
  const text =
    enabled === files
      ? `the kernel verifies all ${files} files of ${source}`
      : `the kernel verifies ${enabled} of ${files} files of ${source}: their file system cannot do more, and no mount of this program needs it`
  await print(formatLines([text]))
  return 0
}
