import type { PathText } from '../../base/index.ts'
import { isOverlay } from '../../molecule/index.ts'
import type { MountRequest } from '../../request/index.ts'
import { changesFolder } from '../runtime/changes.ts'
import type { MoleculeConfig } from '../runtime/entries.ts'

/** What the runtime entry of a mount says of it. */
export function configOf(request: MountRequest, target: PathText): MoleculeConfig {
  return {
    ...imageOf(request),
    Target: target,
    AddWriteableOverlay: request.changes !== undefined && !request.options.showsOnly,
    WriteableOverlayPath: changesFolder(request.changes),
    AllowMissingVerityData: request.allowMissingVerity,
    MetadataDir: request.metadataDir ?? '',
  }
}

function imageOf({ source, name }: MountRequest): Pick<MoleculeConfig, 'OCIDir' | 'Tag'> {
  if (isOverlay(source)) return { OCIDir: '', Tag: name }
  // The file is that of atomfs, which knows OCI layouts alone.
  return source.container === 'oci'
    ? { OCIDir: source.path, Tag: source.digest ?? source.tag ?? '' }
    : { OCIDir: '', Tag: source.path }
}
