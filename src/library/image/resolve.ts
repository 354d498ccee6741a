import { isDirectory, isSymlink, type Layer, type PathText, type Ref } from '../../base/index.ts'
import { resolveInside as resolvePath } from '../../contents/resolve-path.ts'

/**
 * The ref of a path inside a layer, as `resolveInside` of `contents` finds it.
 * @throws FsError as that function
 */
export function resolveInside(layer: Layer, path: PathText, follow: boolean): Ref {
  const tree = {
    label: layer.label,
    root: layer.root,
    lookup: (directory: Ref, name: string) => layer.lookup(directory, name)?.ref,
    typeOf: (ref: Ref) => {
      const { mode } = layer.stat(ref)
      return isDirectory(mode) ? 'directory' : isSymlink(mode) ? 'symlink' : 'other'
    },
    readlink: (ref: Ref) => layer.readlink(ref),
  } as const
  return resolvePath<Ref>(tree, path, follow)
}
