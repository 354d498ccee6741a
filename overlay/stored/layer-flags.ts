import { type FlagsForm, FsError, type Layer, type Ref } from '../../src/base/index.ts'

export type { DirectoryCursor, InodeSource, Layer, LayerEntry, Ref } from '../../src/base/index.ts'

/** @throws FsError ENOTTY for an image, as squashfs answers; EOPNOTSUPP */
export function layerFlags(layer: Layer, ref: Ref, form: FlagsForm): Uint8Array {
  const flags = layer.inodeFlags?.(ref, form)
  if (flags === undefined) throw new FsError('ENOTTY', `layer ${layer.label} has no inode flags`)
  return flags
}
