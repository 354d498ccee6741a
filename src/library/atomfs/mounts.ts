import { omitUndefined, type PathText } from '../../base/index.ts'
import { askStatus, type MountStatus } from '../../daemon/client/control-client.ts'
import { umount as umountTarget } from '../../daemon/client/umount.ts'
import { anchoredPath } from '../../sys/files/working-directory.ts'
import { assertPaths } from './arguments.ts'

/**
 * Unmounts one of our mounts and waits until the process has ended.
 * @returns warnings, one line each: where the mount goes on in another mount namespace, its process does not end
 * @throws FsError EINVAL where nothing of ours is mounted, EBUSY while files are open; UsageError for what is no path
 */
export async function umount(target: PathText, metadataDir?: PathText): Promise<readonly string[]> {
  assertPaths({ target, ...omitUndefined({ metadataDir }) })
  return await umountTarget(anchoredPath(target), {
    lazy: false,
    ...omitUndefined({ metadataDir: metadataDir || undefined }),
  })
}

/** `umount` with its second argument: the name that atomfs has for it. @throws as `umount` */
export async function umountWithMetadir(target: PathText, metadataDir: PathText): Promise<readonly string[]> {
  return await umount(target, metadataDir)
}

/**
 * What the process that serves a mount tells of it, as `atomfs-fuse status --json` does.
 * @throws FsError EINVAL where nothing of ours is mounted, EACCES where another user mounted it, ENOTCONN where its
 *   process does not answer; UsageError for what is no path
 */
export async function mountStatus(target: PathText, metadataDir?: PathText): Promise<MountStatus> {
  assertPaths({ target, ...omitUndefined({ metadataDir }) })
  return await askStatus(anchoredPath(target), metadataDir || undefined)
}
