import { type InodeNumber, isDirectory, type Stat, type StatFs } from '../../src/base/index.ts'
import type { Layer } from '../stored/layer-flags.ts'
import { type OwnerRule, shownId } from '../stored/owner.ts'

/**
 * Attributes as shown. A merged directory has one link, because nobody counts its subdirectories over all layers;
 * that is also what tells find(1) not to count (fs/overlayfs/inode.c:ovl_getattr).
 * @param ino number to show
 */
export function presentStat(stat: Stat, ino: InodeNumber, merged: boolean, owner: OwnerRule): Stat {
  const nlink = merged && isDirectory(stat.mode) ? 1 : stat.nlink
  const uid = shownId(owner.uid, stat.uid)
  const gid = shownId(owner.gid, stat.gid)
  const isShownAsIs = ino === stat.ino && nlink === stat.nlink && uid === stat.uid && gid === stat.gid
  return isShownAsIs ? stat : { ...stat, ino, nlink, uid, gid }
}

/** Space of all layers together, a layer that stands twice counted once; nothing is free in a read-only tree. */
export function sumStatFs(layers: readonly Layer[], nameMax: number): StatFs {
  const all = [...new Set(layers)].map((layer) => layer.statfs())
  const blockSize = Math.max(512, ...all.map((one) => one.blockSize))
  let blocks = 0
  let files = 0
  for (const one of all) {
    blocks += Math.ceil((one.blocks * one.blockSize) / blockSize)
    files += one.files
  }
  return {
    blockSize,
    blocks: Math.min(blocks, Number.MAX_SAFE_INTEGER),
    blocksFree: 0,
    blocksAvailable: 0,
    files: Math.min(files, Number.MAX_SAFE_INTEGER),
    filesFree: 0,
    nameMax,
  }
}
