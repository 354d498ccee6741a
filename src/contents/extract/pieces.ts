import { type BlockRef, type ExtentSink, FsError } from '../../base/index.ts'

/** Numbers of one piece: length, then the fields of its block, or -1 for a hole. */
const WIDTH = 7
const HOLE = -1

/**
 * The pieces of files of images as plain numbers, which cross threads at less cost than objects. Descriptors of host files
 * do not stay open long enough for that.
 */
export class PieceList implements ExtentSink {
  readonly #numbers: number[] = []
  hole(length: number): void {
    this.#numbers.push(length, HOLE, 0, 0, 0, 0, 0)
  }

  block({ source, position, storedSize, kindBits, maxSize }: BlockRef, from: number, length: number): void {
    this.#numbers.push(length, source, position, storedSize, kindBits, maxSize, from)
  }

  file(): void {
    throw new FsError('EIO', 'a file of an image lies outside of it')
  }

  /** Takes the pieces out. */
  take(): Float64Array {
    return Float64Array.from(this.#numbers.splice(0))
  }
}

/** What a list of pieces describes, in file order. */
export function describePieces(numbers: Float64Array, sink: Pick<ExtentSink, 'hole' | 'block'>): void {
  for (let at = 0; at + WIDTH <= numbers.length; at += WIDTH) {
    const number = (field: number): number => numbers[at + field] ?? 0
    const length = number(0)
    if (number(1) === HOLE) sink.hole(length)
    else {
      const block: BlockRef = {
        source: number(1),
        position: number(2),
        storedSize: number(3),
        kindBits: number(4),
        maxSize: number(5),
      }
      sink.block(block, number(6), length)
    }
  }
}
