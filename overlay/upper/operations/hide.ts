import type { Name } from '../../../src/base/index.ts'
import { whiteout } from '../disk/markers.ts'
import type { DirectoryNode } from '../nodes/nodes.ts'
import type { Upper } from '../nodes/upper.ts'

/** Deletes a name of a directory that is in the upper. @throws FsError as `whiteout` */
export function hide({ files, work, policy }: Upper, parent: DirectoryNode, name: Name): void {
  if (whiteout(files.directory(parent), name, work, policy) === 'attribute') parent.attributeWhiteouts = true
}
