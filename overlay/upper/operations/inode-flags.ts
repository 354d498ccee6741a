import { closeSync, constants } from 'node:fs'
import { changing, type FlagsForm } from '../../../src/base/index.ts'
import { reopenFd } from '../../../src/sys/files/at.ts'
import { readFlags, writeFlags } from '../../../src/sys/files/inode-flags.ts'
import { layerFlags } from '../../stored/layer-flags.ts'
import type { Node } from '../nodes/nodes.ts'
import { attributedPart, layerOf } from '../nodes/present.ts'
import type { Upper } from '../nodes/upper.ts'
import type { CopyUp } from './copy-up.ts'

const { O_NONBLOCK, O_RDONLY } = constants

/** The flags for lsattr(1): those of the file in its layer or in the upper (fs/overlayfs/inode.c:ovl_fileattr_get). */
export function shownFlags(upper: Upper, node: Node, form: FlagsForm): Uint8Array {
  if (!node.inUpper) {
    const part = attributedPart(node)
    return layerFlags(layerOf(upper, part), part.ref, form)
  }
  return withReadable(upper, node, (fd) => readFlags(fd, form))
}

/**
 * Changes flags for chattr(1), after copy-up. The kernel has checked the caller (fs/file_attr.c:fileattr_set_prepare).
 * An immutable file is immutable in the upper as well: from then on the host refuses changes.
 * @throws FsError EPERM, EOPNOTSUPP
 */
export function setFlags(upper: Upper, copyUp: CopyUp, node: Node, form: FlagsForm, flags: Uint8Array): void {
  copyUp.ensure(node)
  changing(() => withReadable(upper, node, (fd) => writeFlags(fd, form, flags)))
  // A descriptor opened before would still take writes.
  upper.files.closeData(node)
}

function withReadable<T>({ files }: Upper, node: Node, use: (fd: number) => T): T {
  return files.with(node, (path) => {
    const fd = reopenFd(path, O_RDONLY | O_NONBLOCK)
    try {
      return use(fd)
    } finally {
      closeSync(fd)
    }
  })
}
