import type { BigIntStats } from 'node:fs'
import { packNodeDevice, type Stat } from '../../base/index.ts'

const NANO = 1_000_000_000n

/** Whole seconds, rounded towards the past, and the nanoseconds on top. */
function splitTime(nanoseconds: bigint): [number, number] {
  const rest = ((nanoseconds % NANO) + NANO) % NANO
  return [Number((nanoseconds - rest) / NANO), Number(rest)]
}

/** @param ino inode number within the layer */
export function hostStat(stats: BigIntStats, ino: number): Stat {
  const [atime, atimeNsec] = splitTime(stats.atimeNs)
  const [mtime, mtimeNsec] = splitTime(stats.mtimeNs)
  const [ctime, ctimeNsec] = splitTime(stats.ctimeNs)
  const [btime, btimeNsec] = splitTime(stats.birthtimeNs)
  return {
    ino,
    mode: Number(stats.mode),
    nlink: Number(stats.nlink),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    rdev: packNodeDevice(stats.rdev),
    size: Number(stats.size),
    blocks: Number(stats.blocks),
    blksize: Number(stats.blksize),
    atime,
    mtime,
    ctime,
    atimeNsec,
    mtimeNsec,
    ctimeNsec,
    // Node says 0 where the file system does not know it.
    ...(stats.birthtimeNs > 0n && { btime, btimeNsec }),
  }
}
