import type { PathText } from '../../base/index.ts'
import { startDaemon } from '../../daemon/client/start-daemon.ts'
import { parseSource } from '../../molecule/source.ts'
import { buildMountRequest, parseMountOptions } from '../../request/index.ts'
import { assertPaths } from '../atomfs/index.ts'
import { IMAGE_TYPE } from './constants.ts'

/** The root file system of a container, as the runtime specification has it (config.md, `root`). */
export interface MountedRoot {
  readonly path: PathText
  readonly readonly: boolean
}

/**
 * Shows an open image as a directory. It is mounted by its descriptor, so what lies at its path by now does not matter.
 * @throws FsError why there is no mount, UsageError for what is no path
 */
export async function mountRoot(
  image: { readonly type: number; readonly path: PathText; readonly fd: number; readonly writable: boolean },
  target: PathText,
): Promise<MountedRoot> {
  if (image.type === IMAGE_TYPE.SANDBOX) return { path: image.path, readonly: !image.writable }
  assertPaths({ target })
  const request = buildMountRequest({
    source: parseSource(`/proc/self/fd/${image.fd}`),
    name: image.path,
    target,
    parsed: parseMountOptions([]),
  })
  await startDaemon(request)
  return { path: target, readonly: true }
}
