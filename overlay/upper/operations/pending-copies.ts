import { type Background, Postponed, Work } from '../../../src/base/index.ts'
import { Copy, type CopySource } from '../disk/copy.ts'
import type { Node } from '../nodes/nodes.ts'
import type { Upper } from '../nodes/upper.ts'

interface Pending {
  readonly start: number
  readonly copy: Copy
  readonly work: Work
}

/** Copies of files that take long. Other requests are served while workers copy the data. */
export class PendingCopies {
  readonly #upper: Upper
  readonly #background: Background
  readonly #pending = new Map<Node, Pending>()

  constructor(upper: Upper, background: Background) {
    this.#upper = upper
    this.#background = background
  }

  has(node: Node): boolean {
    return this.#pending.has(node)
  }

  /**
   * Drops a finished copy that no request took: the request that began it failed with another error the second time.
   */
  forget(node: Node): void {
    const begun = this.#pending.get(node)
    if (begun === undefined || !begun.work.isDone) return
    this.#pending.delete(node)
    begun.copy.discard()
  }

  /**
   * The copy of a node with all its data; the caller has to finish it.
   * @throws Postponed until the data is copied; FsError with which copying failed
   */
  take(node: Node, source: CopySource): Copy {
    const begun = this.#pending.get(node) ?? this.#begin(node, source)
    if (!begun.work.isDone) throw new Postponed(begun.work)
    this.#pending.delete(node)
    try {
      begun.work.finish()
    } catch (error) {
      begun.copy.discard()
      throw error
    }
    this.#upper.syncCost.noteSync(begun.start)
    if (begun.copy.length >= source.stat.size) return begun.copy
    // A request that needed less of the file began this copy.
    begun.copy.discard()
    throw new Postponed(this.#begin(node, source).work)
  }

  #begin(node: Node, source: CopySource): Pending {
    const { work, policy } = this.#upper
    const copy = new Copy(source, work, policy)
    const pending = {
      start: performance.now(),
      copy,
      work: new Work(copy.fill(source, this.#background)),
    }
    this.#pending.set(node, pending)
    return pending
  }
}
