import { createHash } from 'node:crypto'
import { Ext4BlockReader } from '../../../ext4/block-reader.ts'
import { Ext4Image } from '../../../ext4/image.ts'
import {
  type ByteSource,
  ExtentReader,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
} from '../../../src/base/index.ts'

/** What a walk looks at, at most: a damaged tree may be endless. */
export interface WalkLimits {
  readonly names: number
  readonly fileBytes: number
}

const WHOLE: WalkLimits = { names: 1e6, fileBytes: 2 ** 40 }
/** Bytes that are read at once. */
const PIECE = 1 << 20

/** Bytes in memory as the source of an image. */
export function memorySource(bytes: Uint8Array, label = 'image'): ByteSource {
  return {
    size: bytes.length,
    label,
    readInto(position, target) {
      if (!(position >= 0) || position + target.length > bytes.length) {
        throw new FsError('EIO', `${label}: read ${position}+${target.length} outside ${bytes.length} bytes`)
      }
      target.set(bytes.subarray(position, position + target.length))
    },
  }
}

export interface Walked {
  /** All that can be asked of each name, as text, by its path. An error is told in its place. */
  readonly tree: ReadonlyMap<string, string>
  readonly errors: number
}

/**
 * Walks a file system in this process. What fails is told, and the walk goes on.
 * @throws FsError where it cannot be opened; any error that is no FsError with EIO
 */
export function walkImage(source: ByteSource, limits: WalkLimits = WHOLE): Walked {
  const image = new Ext4Image({ source, sourceId: 0, label: 'image' })
  const reader = new Ext4BlockReader(source)
  const content = new ExtentReader(
    { readBlock: (block, target) => reader.readBlock(block, target) },
    () => 0,
    {
      cacheSize: 0,
    },
  )
  const tree = new Map<string, string>()
  const entered = new Set<number>()
  let errors = 0
  const told = (look: () => unknown): unknown => {
    try {
      return look()
    } catch (error) {
      if (!(error instanceof FsError) || error.code !== 'EIO') throw error
      errors += 1
      return '!EIO'
    }
  }
  const contentOf = (ref: number, size: number): string => {
    const hash = createHash('sha256')
    const end = Math.min(size, limits.fileBytes)
    for (let at = 0; at < end; ) {
      // Holes of terabytes are passed over, and told by where data are.
      const data = told(() => nextData(image, ref, at))
      if (typeof data !== 'number' || data >= end) return `${hash.digest('hex')} ${data}`
      at = data - (data % PIECE)
      const length = Math.min(PIECE, end - at)
      hash.update(`${at}:`)
      const pieces: Uint8Array[] = []
      const claim = (bytes: number): Uint8Array => {
        const piece = new Uint8Array(bytes)
        pieces.push(piece)
        return piece
      }
      hash.update(String(told(() => content.read((sink) => image.extents(ref, at, length, sink), claim))))
      for (const piece of pieces) hash.update(piece)
      at += length
    }
    return hash.digest('hex')
  }
  const pending = [{ ref: image.root, path: '' }]
  for (let next = pending.pop(); next !== undefined && tree.size < limits.names; next = pending.pop()) {
    const { ref, path } = next
    const stat = told(() => image.stat(ref)) as ReturnType<typeof image.stat> | '!EIO'
    if (stat === '!EIO') {
      tree.set(path, stat)
      continue
    }
    const xattrs = told(() =>
      image.listxattr(ref).map((name) => {
        const value = told(() => image.getxattr(ref, name))
        return [name, value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value]
      }),
    )
    const target = isSymlink(stat.mode) ? told(() => Buffer.from(image.readlink(ref)).toString('latin1')) : ''
    const sum = isRegular(stat.mode) ? contentOf(ref, stat.size) : ''
    let listed: unknown = ''
    if (isDirectory(stat.mode) && !entered.has(ref)) {
      entered.add(ref)
      listed = told(() => {
        const cursor = image.openDirectory(ref, 0)
        let names = 0
        for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
          names += 1
          if (names + pending.length > limits.names) return 'more'
          const { name, ref: child } = entry
          const found = told(() => image.lookup(ref, name)?.ref)
          if (found !== child && found !== '!EIO') errors += 1
          pending.push({ ref: child, path: `${path}/${name}` })
        }
        return names
      })
    }
    // How many blocks a deleted or grown file takes is no part of what a reader sees, but all else is.
    tree.set(path, JSON.stringify([stat, xattrs, target, sum, listed]))
  }
  return { tree, errors }
}

function nextData(image: Ext4Image, ref: number, at: number): number {
  try {
    return image.seek(ref, at, 'data')
  } catch (error) {
    if (error instanceof FsError && error.code === 'ENXIO') return Number.POSITIVE_INFINITY
    throw error
  }
}

/** The names of what differs between two walks. */
export function differences(one: Walked, other: Walked): string[] {
  const paths = new Set([...one.tree.keys(), ...other.tree.keys()])
  return [...paths].filter((path) => one.tree.get(path) !== other.tree.get(path))
}
