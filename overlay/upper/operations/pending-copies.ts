import { type Background, Postponed, Work } from '../../../src/base/index.ts'
import { Copy, type CopySource } from '../disk/copy.ts'
import type { Node } from '../nodes/nodes.ts'
import type { Upper } from '../nodes/upper.ts'

interface Pending {
  readonly start: number
  readonly copy: Copy
  readonly work: Work
}

/** Copies of files whose data takes long: it is copied while other requests are served. */
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

  /** Throws away what nobody came back for: the operation that had asked met another error the second time. */
  forget(node: Node): void {
    const begun = this.#pending.get(node)
    if (begun === undefined || !begun.work.isDone) return
    this.#pending.delete(node)
    begun.copy.discard()
  }

  /**
   * The copy of a node with all its data, to be finished; whoever takes it has it for himself.
   * @throws Postponed until there is one; FsError what copying failed with
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
    // It was begun for somebody who needed less of the file.
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
