import { SquashfsImage } from '../../squashfs/image.ts'
import { readSuperblock, type Superblock } from '../../squashfs/superblock.ts'
import { type ExtentSink, FsError, S_IFLNK, S_IFMT, S_IFREG } from '../../src/base/index.ts'
import type { BuiltImage } from '../squashfs/support/builder.ts'
import { cat } from '../squashfs/support/bytes.ts'
import { MemorySource, NO_CODEC } from '../squashfs/support/sources.ts'
import type { FuzzTarget } from './driver.ts'

/** The bytes [start, end) of an image: what a target replaces. */
export type Part = (superblock: Superblock) => readonly [start: number, end: number]

const SINK: ExtentSink = { hole() {}, block() {}, file() {} }
/** Names looked at: enough for a listing of each kind, few enough for a million runs. */
const NAMES_MAX = 14

/**
 * A target that replaces one part of an image by the bytes, as many as fit, and asks everything about the tree. The
 * first byte says which part.
 */
export function partsTarget(name: string, built: BuiltImage, parts: readonly Part[]): FuzzTarget {
  const superblock = readSuperblock(new MemorySource(built.bytes))
  const ranges = parts.map((part) => part(superblock))
  const run = (bytes: Uint8Array): void => {
    const [start, end] = ranges[(bytes[0] ?? 0) % ranges.length]!
    const changed = built.bytes.slice()
    changed.set(bytes.subarray(1, 1 + end - start), start)
    const source = new MemorySource(changed)
    askAll(new SquashfsImage({ source, sourceId: 1, label: 'fuzz', codec: NO_CODEC }))
  }
  const samples = ranges.map(([start, end], i) => cat(Uint8Array.of(i), built.bytes.slice(start, end)))
  return { name, samples, run, codes: ['EIO', 'EINVAL'] }
}

/** Only these may come, and the error of one question must not hide the answers of others. */
const EXPECTED = new Set(['EIO', 'ENXIO', 'EINVAL', 'E2BIG', 'ENOTDIR', 'EISDIR'])

/** @throws FsError EIO in the end, where anything was damaged */
function askAll(image: SquashfsImage): void {
  let damage: FsError | undefined
  const ask = (question: () => void): void => {
    try {
      question()
    } catch (error) {
      if (!(error instanceof FsError) || !EXPECTED.has(error.code)) throw error
      if (error.code === 'EIO') damage ??= error
    }
  }
  const pending = [image.root]
  let left = NAMES_MAX
  for (let ref = pending.pop(); ref !== undefined && left > 0; ref = pending.pop()) {
    const at = ref
    ask(() => {
      const cursor = image.openDirectory(at, 0)
      for (let entry = cursor.next(); entry !== undefined && left > 0; entry = cursor.next()) {
        left -= 1
        const { name, ref: child } = entry
        ask(() => void image.lookup(at, name))
        ask(() => void image.openDirectoryAt(at, name).next())
        ask(() => void image.openDirectory(at, cursor.position).next())
        askInode(image, child, ask)
        if (entry.type === 4) pending.push(child)
      }
    })
    ask(() => void image.lookup(at, 'missing'))
    askInode(image, at, ask)
  }
  if (damage !== undefined) throw damage
}

function askInode(image: SquashfsImage, ref: number, ask: (question: () => void) => void): void {
  ask(() => {
    for (const name of image.listxattr(ref)) ask(() => void image.getxattr(ref, name))
  })
  ask(() => {
    const { size, mode } = image.stat(ref)
    if ((mode & S_IFMT) === S_IFLNK) ask(() => void image.readlink(ref))
    if ((mode & S_IFMT) !== S_IFREG) return
    ask(() => image.extents(ref, 0, 65_536, SINK))
    ask(() => image.extents(ref, Math.max(0, size - 1), 1, SINK))
    for (const whence of ['data', 'hole'] as const) ask(() => void image.seek(ref, 0, whence))
    ask(() => void image.following(ref))
  })
}
