import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { FsError, type PathText, systemPath } from '../../base/index.ts'
import { startDaemon } from '../../daemon/client/start-daemon.ts'
import { umount } from '../../daemon/client/umount.ts'
import { buildMountRequest, parseMountOptions } from '../../request/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'

/**
 * Whether bundles can be made in a folder: tries a writable mount of an empty directory there, and leaves nothing.
 * @param root made if it is missing
 */
export async function supported(root: PathText): Promise<boolean> {
  let place: PathText | undefined
  try {
    const folder = absolutePath(root)
    mkdirSync(systemPath(folder), { recursive: true, mode: 0o700 })
    place = mkdtempSync(join(folder, 'supported-'))
    for (const name of ['tree', 'mount']) mkdirSync(join(place, name))
    const target = join(place, 'mount')
    const tree = join(place, 'tree')
    await startDaemon(
      buildMountRequest({
        ...{ source: { container: 'directory', path: tree }, name: tree, target },
        persist: join(place, 'changes'),
        parsed: parseMountOptions(['fsync=volatile']),
      }),
    )
    await umount(target, { lazy: false })
    return true
  } catch (error) {
    if (error instanceof FsError || (error as NodeJS.ErrnoException).code !== undefined) return false
    throw error
  } finally {
    if (place !== undefined) rmSync(place, { recursive: true, force: true })
  }
}
