import { type Background, Postponed, Work } from '../../src/base/index.ts'
import { Copy, type CopySource } from './copy-up.ts'
import type { Node } from './nodes.ts'
import type { UpperPolicy } from './upper-policy.ts'
import type { WorkDirectory } from './work-directory.ts'

interface Pending {
  readonly copy: Copy
  readonly work: Work
}

/** Copies of files whose data takes long: it is copied while other requests are served. */
export class PendingCopies {
  readonly #background: Background
  readonly #work: WorkDirectory
  readonly #policy: UpperPolicy
  readonly #pending = new Map<Node, Pending>()

  constructor(background: Background, work: WorkDirectory, policy: UpperPolicy) {
    this.#background = background
    this.#work = work
    this.#policy = policy
  }

  /** Copies under way, for tests. */
  get size(): number {
    return this.#pending.size
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
    if (begun.copy.length >= source.stat.size) return begun.copy
    // It was begun for somebody who needed less of the file.
    begun.copy.discard()
    throw new Postponed(this.#begin(node, source).work)
  }

  #begin(node: Node, source: CopySource): Pending {
    const copy = new Copy(source, this.#work, this.#policy)
    const pending = { copy, work: new Work(copy.fill(source, this.#background)) }
    this.#pending.set(node, pending)
    return pending
  }
}
