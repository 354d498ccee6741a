import { readFileSync } from 'node:fs'
import { decodePath, FsError, type PathText } from '../../base/index.ts'
import { procPath } from '../plain/proc.ts'

/** One line of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)). */
export interface MountInfo {
  readonly mountId: number
  readonly parentId: number
  /** `major:minor` of the superblock: what `st_dev` shows. */
  readonly device: string
  /** Directory of the file system that is the root of this mount. */
  readonly root: PathText
  readonly mountPoint: PathText
  readonly mountOptions: readonly string[]
  /** Type with its subtype, such as `fuse.atomfs-fuse`. */
  readonly type: string
  readonly source: string
  readonly superOptions: readonly string[]
}

/** Subtype of this program's mounts. It is set because AppArmor profiles of LXC allow `fuse.*` but not `fuse`. */
export const FUSE_SUBTYPE = 'atomfs-fuse'
export const MOUNT_TYPE = `fuse.${FUSE_SUBTYPE}`

/** The mounts of this mount namespace, in the kernel's order. */
export function readMountInfo(path = procPath('self/mountinfo')): readonly MountInfo[] {
  let text: string
  try {
    text = decodePath(readFileSync(path))
  } catch (error) {
    throw new FsError('EIO', `cannot read ${path}: is /proc mounted?`, { cause: error })
  }
  return parseMountInfo(text)
}

/** Parses the text of mountinfo. @throws FsError EIO where a line does not have the documented fields */
export function parseMountInfo(text: string): readonly MountInfo[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line, index) => parseLine(line, index + 1))
}

function parseLine(line: string, number: number): MountInfo {
  // Optional fields lie between the sixth field and a lone hyphen, so the fields after it are counted from the hyphen.
  const separator = line.indexOf(' - ')
  const [mountId, parentId, device, root, mountPoint, options] = line.slice(0, separator).split(' ')
  const [type, source, superOptions] = line.slice(separator + 3).split(' ')
  if (separator < 0 || options === undefined || source === undefined) {
    throw new FsError('EIO', `mountinfo line ${number}: too few fields`)
  }
  return {
    mountId: Number(mountId),
    parentId: Number(parentId),
    device: device ?? '',
    root: unescapeOctal(root ?? ''),
    mountPoint: unescapeOctal(mountPoint ?? ''),
    mountOptions: options.split(','),
    type: unescapeOctal(type ?? ''),
    source: unescapeOctal(source),
    superOptions: (superOptions ?? '').split(',').filter((option) => option !== ''),
  }
}

/** Undoes fs/seq_file.c:mangle_path, which writes blank, tab, newline, `\` and `#` as `\` and three octal digits. */
export function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

/**
 * The mount in which a path lookup of `mountPoint` ends. Mounts stack: the topmost one is no other's parent at the same
 * place. The order of the lines does not show it, because mounts can be moved.
 */
export function topMountAt(mounts: readonly MountInfo[], mountPoint: string): MountInfo | undefined {
  const here = mounts.filter((mount) => mount.mountPoint === mountPoint)
  const covered = new Set(here.map((mount) => mount.parentId))
  return here.findLast((mount) => !covered.has(mount.mountId)) ?? here.at(-1)
}

/** Where a file system is mounted, and whether its mount is the one that a lookup of that path finds (`isReachable`). */
export interface MountPlace {
  readonly place: PathText
  readonly isReachable: boolean
}

/** The places of a file system, each once. @param device as in `MountInfo` */
export function placesOf(mounts: readonly MountInfo[], device: string): readonly MountPlace[] {
  const own = mounts.filter((mount) => mount.device === device)
  return [...new Set(own.map(({ mountPoint }) => mountPoint))].map((place) => ({
    place,
    isReachable: own.some((mount) => mount.mountPoint === place && isReachable(mounts, mount)),
  }))
}

/**
 * Whether a path lookup of its mount point ends in this mount, and on the way there passes only through the mounts in
 * which it lies. A mount over one of the folders above covers it, too, and a lookup would then ask that mount's server.
 */
export function isReachable(mounts: readonly MountInfo[], mount: MountInfo): boolean {
  const byId = new Map(mounts.map((one) => [one.mountId, one]))
  const isCovered = (parent: MountInfo, onTheWay: MountInfo | undefined): boolean => {
    const place = (onTheWay ?? parent).mountPoint
    return mounts.some(
      (one) =>
        one.parentId === parent.mountId &&
        one !== parent &&
        one !== onTheWay &&
        (one.mountPoint === place || place.startsWith(one.mountPoint === '/' ? '/' : `${one.mountPoint}/`)),
    )
  }
  const passed = new Set<MountInfo>()
  let child: MountInfo | undefined
  for (
    let at: MountInfo | undefined = mount;
    at !== undefined && !passed.has(at);
    at = byId.get(at.parentId)
  ) {
    if (isCovered(at, child)) return false
    passed.add(at)
    child = at
  }
  return true
}
