import {
  type BlockRef,
  DT_DIR,
  DT_REG,
  decodePath,
  type ExtentSink,
  FsError,
  InodeSet,
  type Layer,
  withSource,
} from '../base/index.ts'
import { kindNamed } from '../kinds/kinds.ts'
import { imageSource, rawSource } from './image-file.ts'
import type { ImageSpec } from './spec.ts'

/** Bytes of an image that do not match its root hash: [start, end). */
export interface DamagedRange {
  readonly start: number
  readonly end: number
}

/** Most paths named in one report. */
const PATH_LIMIT = 100
/**
 * What one walk looks at, at most: names, inodes, bytes of a path, blocks of all files together. An image of a few
 * KB can claim more than anybody can walk; what is left out makes the report truncated.
 */
const LIMITS = { names: 2 ** 26, inodes: 2 ** 23, path: 2 ** 16, blocks: 2 ** 30 }

/** What damage in an image hits, for people. */
export interface DamageReport {
  /** Files with data in a damaged block, from the root of the layer, as `PathText`. */
  readonly files: readonly string[]
  /** Parts of the format with a damaged block: `inode table`, `directory table`, … */
  readonly structures: readonly string[]
  /** Directories and files that could not be looked at, because their own metadata is damaged. */
  readonly unreadable: number
  readonly truncated: boolean
}

/**
 * Finds the files that own damaged blocks, by a walk over the whole tree through verification. What cannot be
 * read is counted and passed over.
 */
export function nameDamage(spec: ImageSpec, ranges: readonly DamagedRange[]): DamageReport {
  const kind = kindNamed(spec.kind)
  const structures = withSource(rawSource(spec), (source) => kind.regions(source))
    .filter((region) => ranges.some((range) => range.start < region.end && range.end > region.start))
    .map((region) => region.name)
  const isDamaged = ({ position, storedSize }: BlockRef): boolean =>
    ranges.some((range) => position < range.end && position + storedSize > range.start)
  return { ...walkImage(spec, isDamaged), structures }
}

/** Finds the files with data in damaged blobs. @param blobs their indexes among those of the image */
export function nameDamagedBlobs(spec: ImageSpec, blobs: ReadonlySet<number>): DamageReport {
  return { ...walkImage(spec, ({ position }) => blobs.has(position)), structures: [] }
}

function walkImage(
  spec: ImageSpec,
  isDamaged: (block: BlockRef) => boolean,
): Omit<DamageReport, 'structures'> {
  const kind = kindNamed(spec.kind)
  const walk = new DamageWalk(isDamaged)
  try {
    const { label, facts } = spec
    const { detail } = facts
    const session = kind.open({ details: [detail] })
    withSource(imageSource(spec), (source) => {
      const image = session.openLayer({ source, sourceId: 0, label, detail })
      walk.directory(image, image.root, '')
    })
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    walk.unreadable++
  }
  const { files, unreadable, truncated } = walk
  return { files, unreadable, truncated }
}

class DamageWalk {
  readonly files: string[] = []
  unreadable = 0
  truncated = false
  readonly #isDamaged: (block: BlockRef) => boolean
  // Each inode is looked at once: a file with several names is reported by the name that the walk met first.
  readonly #seen = new InodeSet()
  #names = 0
  #blocks = 0

  constructor(isDamaged: (block: BlockRef) => boolean) {
    this.#isDamaged = isDamaged
  }

  directory(image: Layer, root: number, rootPath: string): void {
    const pending = [{ ref: root, path: rootPath }]
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { ref, path } = next
      this.#attempt(() => {
        const cursor = image.openDirectory(ref, 0)
        for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
          if (this.#isTooMuch(path)) return
          if (!this.#seen.add(entry.ref)) continue
          const child = { ref: entry.ref, path: `${path}/${decodePath(Buffer.from(entry.name, 'latin1'))}` }
          if (entry.type === DT_DIR) pending.push(child)
          else if (entry.type === DT_REG) this.#attempt(() => this.#file(image, child.ref, child.path))
        }
      })
    }
  }

  #isTooMuch(path: string): boolean {
    this.#names += 1
    const within =
      this.#names <= LIMITS.names && this.#seen.size < LIMITS.inodes && path.length <= LIMITS.path
    if (!within) this.truncated = true
    return !within
  }

  #file(image: Layer, ref: number, path: string): void {
    const { size, blksize } = image.stat(ref)
    this.#blocks += Math.ceil(size / blksize)
    if (this.#blocks > LIMITS.blocks) {
      this.truncated = true
      return
    }
    let hit = false
    const sink: ExtentSink = {
      hole: () => undefined,
      file: () => undefined,
      block: (block) => {
        hit ||= this.#isDamaged(block)
      },
    }
    image.extents(ref, 0, size, sink)
    if (!hit) return
    if (this.files.length < PATH_LIMIT) this.files.push(path)
    else this.truncated = true
  }

  #attempt(look: () => void): void {
    try {
      look()
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      this.unreadable++
    }
  }
}
