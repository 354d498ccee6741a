import { fstatSync } from 'node:fs'
import {
  type BlockRef,
  ExtentReader,
  type ExtentSink,
  type FileSystem,
  FsError,
  LruCache,
  type NodeId,
} from '../../base/index.ts'
import { type MoleculeSpec, readHostFile } from '../../molecule/index.ts'
import type { Contents } from '../source-contents.ts'

/** Bytes that are compared at once: no less than a block, so that each is decoded once. */
const CHUNK = 1 << 20
/** Bytes of decoded blocks to keep, of each side: small files lie side by side in one. */
const BLOCKS = 4 << 20
/** Pairs of files with several names whose comparison is remembered. */
const PAIRS = 4096

/** Compares the data of files of two trees, each with at most some MB in memory. */
export class FileComparison {
  readonly #sides: readonly [Side, Side]
  readonly #known = new LruCache<string, boolean>(PAIRS)

  constructor(one: Contents, other: Contents) {
    this.#sides = [new Side(one), new Side(other)]
  }

  /**
   * Whether two files of the same size have the same bytes. Those that lie at the same place of the same image have, and
   * are not read.
   * @param haveSeveralNames they may be asked for again
   * @throws FsError EIO
   */
  areEqual(one: NodeId, other: NodeId, size: number, haveSeveralNames: boolean): boolean {
    const key = `${one}:${other}`
    const known = haveSeveralNames ? this.#known.get(key) : undefined
    if (known !== undefined) return known
    const equal = this.#compare(one, other, size)
    if (haveSeveralNames) this.#known.set(key, equal, 1)
    return equal
  }

  #compare(one: NodeId, other: NodeId, size: number): boolean {
    const [left, right] = this.#sides
    for (let at = 0; at < size; at += CHUNK) {
      const length = Math.min(CHUNK, size - at)
      const places = left.places(one, at, length)
      if (places !== undefined && places === right.places(other, at, length)) continue
      if (!left.read(one, at, length).equals(right.read(other, at, length))) return false
    }
    return true
  }
}

class Side {
  readonly #fileSystem: FileSystem
  readonly #reader: ExtentReader
  readonly #images: readonly string[]
  readonly #chunk = Buffer.alloc(CHUNK)

  constructor({ fileSystem, store, spec }: Contents) {
    this.#fileSystem = fileSystem
    this.#reader = new ExtentReader(store, readHostFile, { cacheSize: BLOCKS })
    this.#images = imagesOf(spec)
  }

  /** Where a part of a file lies, as text; undefined where that does not tell what it is. */
  places(node: NodeId, offset: number, length: number): string | undefined {
    let text = ''
    let isKnown = true
    const sink: ExtentSink = {
      hole: (bytes) => {
        text += `hole ${bytes};`
      },
      block: ({ source, position, kindBits }: BlockRef, from, bytes) => {
        text += `${this.#images[source]} ${position} ${kindBits} ${from} ${bytes};`
      },
      file: () => {
        isKnown = false
      },
    }
    this.#fileSystem.read(node, offset, length, sink)
    return isKnown ? text : undefined
  }

  /** @returns valid until the next call */
  read(node: NodeId, offset: number, length: number): Buffer {
    let filled = 0
    this.#reader.read(
      (sink) => this.#fileSystem.read(node, offset, length, sink),
      (bytes) => {
        filled += bytes
        return this.#chunk.subarray(filled - bytes, filled)
      },
    )
    if (filled !== length) throw new FsError('EIO', `ends at byte ${offset + filled}, before its size`)
    return this.#chunk.subarray(0, length)
  }
}

/** What identifies each image: the same file, from the same byte on. */
function imagesOf({ images }: MoleculeSpec): string[] {
  return images.map(({ source, transforms }) => {
    const { dev, ino } = fstatSync(source.fd, { bigint: true })
    const [window] = transforms
    return `${dev}:${ino}:${window?.kind === 'window' ? window.offset : 0}`
  })
}
