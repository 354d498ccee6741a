import { FsError } from '../errno.ts'
import type { Name } from '../file-system.ts'

const WAITING_MAX = 256 << 20

export interface PendingLink {
  readonly path: Name
  readonly target: Name
}

/**
 * Hard links whose file has not come yet. They may lead to each other, in any order; each is tried at most twice, however
 * many there are.
 */
export class PendingLinks {
  readonly #targets = new Map<Name, Name>()
  readonly #most: number
  #bytes = 0

  /** @param most bytes of all paths together */
  constructor(most = WAITING_MAX) {
    this.#most = most
  }

  /** A later link of the same path replaces the earlier one. @throws FsError EFBIG for more than memory is there for */
  add({ path, target }: PendingLink): void {
    this.delete(path)
    this.#bytes += path.length + target.length
    if (this.#bytes > this.#most) {
      const what = `${this.#targets.size} hard links come before their files`
      throw new FsError('EFBIG', `${what}, with paths of more than ${this.#most} bytes in all`)
    }
    this.#targets.set(path, target)
  }

  /** Something else has the path now. */
  delete(path: Name): void {
    const target = this.#targets.get(path)
    if (target === undefined) return
    this.#targets.delete(path)
    this.#bytes -= path.length + target.length
  }

  /**
   * Tries all of them, in the order in which they came, and again those that wait for one that was made.
   * @param make makes a link; returns false where its file is not there
   */
  resolve(make: (path: Name, target: Name) => boolean): void {
    const waiting = new Map<Name, Name[]>()
    for (const first of this.#targets.keys()) {
      const tried = [first]
      for (let path = tried.pop(); path !== undefined; path = tried.pop()) {
        const target = this.#targets.get(path)
        if (target === undefined) continue
        if (make(path, target)) {
          this.delete(path)
          for (const other of waiting.get(path) ?? []) tried.push(other)
          waiting.delete(path)
        } else {
          const others = waiting.get(target)
          if (others === undefined) waiting.set(target, [path])
          else others.push(path)
        }
      }
    }
  }

  /** Those that are left. */
  list(): readonly PendingLink[] {
    return Array.from(this.#targets, ([path, target]) => ({ path, target }))
  }
}
