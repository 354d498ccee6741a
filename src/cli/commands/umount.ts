import type { PathText } from '../../base/index.ts'
import { umount as umountTarget } from '../../daemon/client/umount.ts'
import { absolutePath, anchoredPath } from '../../sys/files/working-directory.ts'
import { formatWarnings } from '../print/format.ts'

export interface UmountFlags {
  readonly lazy?: boolean
  readonly metadir?: PathText
}

/** Runs `umount`; silent on success. @throws FsError with one clear line */
export async function umount(target: PathText, flags: UmountFlags): Promise<number> {
  const warnings = await umountTarget(anchoredPath(target), {
    lazy: flags.lazy ?? false,
    ...(flags.metadir === undefined ? {} : { metadataDir: absolutePath(flags.metadir) }),
  })
  process.stderr.write(formatWarnings(warnings))
  return 0
}
