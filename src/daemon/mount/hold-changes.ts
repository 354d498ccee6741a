import { FsError, omitUndefined } from '../../base/index.ts'
import type { RunningServer } from '../../drivers/index.ts'
import type { MoleculeSpec } from '../../molecule/index.ts'
import type { MountRequest } from '../../request/index.ts'
import type { Hold } from '../serve/control-server.ts'
import { upperStatus } from '../serve/upper-status.ts'

/**
 * Keeps the changes of a mount as they are, for `commit`.
 * @throws FsError EINVAL where the mount takes no changes; EBUSY; EOPNOTSUPP where another program writes them
 */
export async function holdChanges(
  request: MountRequest,
  spec: MoleculeSpec,
  server: RunningServer,
): Promise<Hold> {
  const { upper } = upperStatus(request, spec.upper)
  if (spec.upperImage !== undefined) {
    const way = `unmount it, and use 'atomfs-fuse convert'`
    throw new FsError(
      'EOPNOTSUPP',
      `its changes are in ${spec.upperImage.label}, which is open for writing: ${way}`,
    )
  }
  if (upper === undefined) throw new FsError('EINVAL', 'the mount takes no changes')
  const { source, name, rootHash, allowMissingVerity } = request
  const { manifestDigest, subdir } = spec
  const mount = {
    ...{ source, name, allowMissingVerity, upper },
    ...omitUndefined({ manifestDigest, rootHash, subdir }),
  }
  return { mount, release: (await server.holdChanges?.()) ?? (() => undefined) }
}
