import { resolve } from 'node:path'
import { umount as umountTarget } from '../daemon/umount.ts'

export interface UmountFlags {
  readonly lazy?: boolean
  readonly metadir?: string
}

/** Runs `umount`; silent on success. @throws FsError with one clear line */
export async function umount(target: string, flags: UmountFlags): Promise<number> {
  const path = target.startsWith('/') ? target : `${process.cwd()}/${target}`
  await umountTarget(path, {
    lazy: flags.lazy ?? false,
    ...(flags.metadir === undefined ? {} : { metadataDir: resolve(flags.metadir) }),
  })
  return 0
}
