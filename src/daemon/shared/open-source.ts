import { closeSync, constants, fstatSync, openSync, statfsSync, statSync } from 'node:fs'
import { containsPath, majorOf, minorOf, type PathText, systemPath } from '../../base/index.ts'
import { O_PATH } from '../../sys/files/at.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { MOUNT_TYPE, readMountInfo } from '../../sys/mounts/mountinfo.ts'
import type { SourceWord } from './protocol.ts'

/** include/uapi/linux/magic.h */
const FUSE_SUPER_MAGIC = 0x6573_5546
const OVERLAYFS_SUPER_MAGIC = 0x794c_7630

const { O_DIRECTORY, O_NONBLOCK, O_RDONLY } = constants

/** What SOURCE leads to, open. */
export interface OpenSource {
  readonly word: SourceWord
  /** The caller closes it. */
  readonly fd: number
}

/**
 * Opens what SOURCE leads to: the longest part of it, from its start or behind the prefix of a container, that is the path
 * of something.
 * @returns undefined where nothing can be opened, or a shared server must not read it
 */
export function openSource(text: PathText): OpenSource | undefined {
  for (const [from, to] of parts(text)) {
    const path = text.slice(from, to)
    const fd = open(path)
    if (fd === undefined) continue
    if (mayBeShared(fd)) return { word: { text, from, to, path: absolutePath(path) }, fd }
    closeSync(fd)
    return undefined
  }
  return undefined
}

function* parts(text: string): Generator<readonly [from: number, to: number]> {
  const prefix = /^[a-z][a-z-]*:/.exec(text)?.[0].length ?? 0
  for (const from of prefix > 0 ? [0, prefix] : [0]) {
    yield [from, text.length]
    for (let to = text.length - 1; to > from; to--) {
      if (text[to] === ':' || text[to] === '@') yield [from, to]
    }
  }
}

function open(path: PathText): number | undefined {
  try {
    const exact = systemPath(path)
    return openSync(exact, statSync(exact).isDirectory() ? O_PATH | O_DIRECTORY : O_RDONLY | O_NONBLOCK)
  } catch {
    return undefined
  }
}

/**
 * Whether the server of several mounts may read a file. It would wait for itself where the file lies in one of its own
 * mounts, or in an overlay of one.
 */
export function mayBeShared(fd: number): boolean {
  try {
    const type = Number(statfsSync(`/proc/self/fd/${fd}`).type)
    if (type === FUSE_SUPER_MAGIC) return false
    return type !== OVERLAYFS_SUPER_MAGIC || !isOverOurs(fd)
  } catch {
    return false
  }
}

/** Whether an overlay has a layer in a mount of this program. */
function isOverOurs(fd: number): boolean {
  const mounts = readMountInfo()
  const ours = mounts.filter(({ type }) => type === MOUNT_TYPE)
  const { dev } = fstatSync(fd)
  const device = `${majorOf(dev)}:${minorOf(dev)}`
  const overlay = mounts.find((mount) => mount.type === 'overlay' && mount.device === device)
  const layers = (overlay?.superOptions ?? []).flatMap((word) =>
    /^(?:lower|upper)dir/.test(word) ? word.split(/[=:]/) : [],
  )
  return layers.some((layer) => ours.some(({ mountPoint }) => containsPath(mountPoint, layer)))
}
