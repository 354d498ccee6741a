import { FsError } from '../../../src/base/index.ts'
import type { Layer } from '../../stored/layer-flags.ts'
import { type Copied, Copy, type CopySource } from '../disk/copy.ts'
import type { Upper } from '../nodes/upper.ts'

/** Errors of a pair of file systems that cannot share data; all others are about one file. */
const NEVER: readonly string[] = ['EXDEV', 'EOPNOTSUPP', 'ENOTTY', 'EPERM']

/** Copies of host files that share the data of their original (btrfs, XFS). They cost neither space nor a sync. */
export class Clones {
  readonly #upper: Pick<Upper, 'work' | 'policy'>
  /** Layers whose files cannot share data with the upper. */
  readonly #apart = new WeakSet<Layer>()

  constructor(upper: Pick<Upper, 'work' | 'policy'>) {
    this.#upper = upper
  }

  /** @returns undefined where the data has to be copied. @throws FsError as `Copy` */
  copy(layer: Layer, source: CopySource): Copied | undefined {
    const fd = source.data?.fd
    if (fd === undefined || this.#apart.has(layer)) return undefined
    // A part of a file need not end at the end of a block.
    if (source.stat.size === 0 || source.isPart) return undefined
    const copy = new Copy(source, this.#upper.work, this.#upper.policy)
    try {
      copy.share(fd)
    } catch (error) {
      copy.discard()
      if (!(error instanceof FsError)) throw error
      if (NEVER.includes(error.code)) this.#apart.add(layer)
      return undefined
    }
    return { name: copy.name, fd: copy.complete(source) }
  }
}
