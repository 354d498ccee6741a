import { FsError, type Stat } from '../../../src/base/index.ts'
import type { HostStat } from '../../../src/sys/files/statx.ts'
import type { Part } from '../../merge/directory.ts'
import { presentStat } from '../../merge/stat.ts'
import type { Layer } from '../../stored/layer-flags.ts'
import { shownId } from '../../stored/owner.ts'
import { presentUpperStat } from '../../stored/owner-record.ts'
import { isDirectoryNode, type Node } from './nodes.ts'
import type { Upper } from './upper.ts'

/** The layer that has the part. @throws FsError ESTALE where the stack has no such layer */
export function layerOf(upper: Upper, part: Part): Layer {
  const layer = upper.stack.layers[part.layer]
  if (layer === undefined) throw new FsError('ESTALE', `no layer ${part.layer}`)
  return layer
}

/** The inode in the layers of a node that the upper lacks. @throws FsError ESTALE where the layers lack it as well */
export function partOf(node: Node): Part {
  if (node.part === undefined) throw new FsError('ESTALE', `node ${node.id} is nowhere`)
  return node.part
}

/**
 * The inode in the layers whose attributes a node shows that the upper lacks: of a directory, that of the topmost layer
 * which has attributes for it. @throws FsError ESTALE
 */
export function attributedPart(node: Node): Part {
  return (isDirectoryNode(node) ? node.lower?.attributed : undefined) ?? partOf(node)
}

/**
 * Attributes for an answer to the kernel, which caches them.
 * @param host the attributes in the upper, where this request has just read them
 * @throws FsError EIO, ESTALE
 */
export function toldStat(upper: Upper, node: Node, host?: HostStat): Stat {
  const stat = node.inUpper ? upperStat(upper, node, host) : lowerStat(upper, node)
  node.told = true
  return stat
}

/** Attributes as shown. @throws FsError EIO, ESTALE */
export function shownStat(upper: Upper, node: Node): Stat {
  return node.inUpper ? upperStat(upper, node) : lowerStat(upper, node)
}

function upperStat({ files, policy, owner, times }: Upper, node: Node, read?: HostStat): Stat {
  const wasRestored = times.restore(node)
  const host = read === undefined || wasRestored ? files.stat(node) : read
  const stat = policy.owners === 'real' ? host : files.with(node, (fd) => presentUpperStat(fd, host, policy))
  return {
    ...stat,
    ino: node.ino,
    nlink: shownLinks(node, host.nlink - files.ownLinks(node)),
    uid: shownId(owner.uid, stat.uid),
    gid: shownId(owner.gid, stat.gid),
  }
}

function lowerStat(upper: Upper, node: Node): Stat {
  const part = attributedPart(node)
  const layer = layerOf(upper, part)
  const merged = isDirectoryNode(node) && node.merged
  const stat = presentStat(layer.stat(part.ref), node.ino, merged, upper.owner)
  return { ...stat, nlink: shownLinks(node, stat.nlink) }
}

/** @param links link count of the inode itself. @returns link count to show */
export function shownLinks(node: Node, links: number): number {
  if (isDirectoryNode(node)) {
    if (node.dead) return 0
    return node.merged ? 1 : links
  }
  // The layer's inode of a removed file still counts its links.
  return !node.inUpper && node.place === undefined ? 0 : links
}
