import { closeSync, fstatSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { containsPath, decodePath, FsError, type PathText } from '../../base/index.ts'
import { openParent } from '../../sys/files/at.ts'
import { type MountInfo, readMountInfo } from '../../sys/mounts/mountinfo.ts'
import { descriptorPath, procPath } from '../../sys/plain/proc.ts'

/** A directory of a mount. */
export interface NamedDirectory {
  /** What it is and its path, for messages. */
  readonly what: string
  /** May be O_PATH. */
  readonly fd: number
}

/** Where a directory lies, independent of the names and mounts that lead to it. */
interface Whereabouts {
  /** Itself and the directories above it on the same file system, as device and inode. */
  readonly chain: readonly string[]
  /** The file system and the path in it, where /proc tells them: the same through every bind mount. */
  readonly place: { readonly device: string; readonly path: PathText } | undefined
}

/**
 * Refuses directories of one mount that are the same or lie in each other, as overlayfs does
 * (fs/overlayfs/super.c:ovl_check_overlapping_layers): what is done to the one would be done to the other. Those below
 * another mount that begins inside of a directory do not lie in it. Lower directories among each other may.
 * @throws FsError ELOOP
 */
export function refuseOverlap(changed: readonly NamedDirectory[], others: readonly NamedDirectory[]): void {
  const mounts = readMountInfo()
  const known = [...changed, ...others].map((directory) => ({
    ...directory,
    at: locate(directory.fd, mounts),
  }))
  for (const [index, one] of known.slice(0, changed.length).entries()) {
    for (const other of known.slice(index + 1)) {
      const relation = relationOf(one.at, other.at)
      if (relation === undefined) continue
      throw new FsError(
        'ELOOP',
        `${one.what} and ${other.what}: ${relation}, so that changes would be made to both: choose directories apart`,
      )
    }
  }
}

function relationOf(one: Whereabouts, other: Whereabouts): string | undefined {
  if (one.chain[0] === other.chain[0]) return 'they are the same directory'
  return contains(one, other) || contains(other, one) ? 'one contains the other' : undefined
}

function contains(outer: Whereabouts, inner: Whereabouts): boolean {
  if (outer.place !== undefined && inner.place !== undefined) {
    return outer.place.device === inner.place.device && containsPath(outer.place.path, inner.place.path)
  }
  return outer.chain[0] !== undefined && inner.chain.includes(outer.chain[0])
}

function locate(fd: number, mounts: readonly MountInfo[]): Whereabouts {
  return { chain: chainOf(fd), place: placeOf(fd, mounts) }
}

function chainOf(fd: number): readonly string[] {
  const first = fstatSync(fd, { bigint: true })
  const chain = [`${first.dev}:${first.ino}`]
  let above = openParent(fd)
  try {
    for (;;) {
      const { dev, ino } = fstatSync(above, { bigint: true })
      const id = `${dev}:${ino}`
      // The root is above itself.
      if (dev !== first.dev || id === chain.at(-1)) return chain
      chain.push(id)
      const next = openParent(above)
      closeSync(above)
      above = next
    }
  } finally {
    closeSync(above)
  }
}

function placeOf(fd: number, mounts: readonly MountInfo[]): Whereabouts['place'] {
  try {
    const id = Number(/^mnt_id:\s*(\d+)$/m.exec(readFileSync(procPath(`self/fdinfo/${fd}`), 'latin1'))?.[1])
    const mount = mounts.find(({ mountId }) => mountId === id)
    const path = decodePath(readlinkSync(descriptorPath(fd), 'buffer'))
    if (mount === undefined || !containsPath(mount.mountPoint, path)) return undefined
    const inside = mount.mountPoint === '/' ? path : path.slice(mount.mountPoint.length)
    return { device: mount.device, path: join(mount.root, inside).replace(/(.)\/$/, '$1') }
  } catch {
    return undefined
  }
}
