import { randomInt } from 'node:crypto'
import type { SharedMolecule } from '../../../molecule/index.ts'

/** What outlives the dispatcher of a tree that mounts show (`TreeMemory`). */
export interface TreeLegacy {
  /** Names the tree. */
  readonly key: string
  readonly generation: number
  readonly directories: readonly SharedArrayBuffer[]
}

interface Entry extends TreeLegacy {
  readonly directories: SharedArrayBuffer[]
  users: number
}

/** Mounts that show the same share a tree, here as in the dispatcher. Used by the main thread. */
export class TreeMemories {
  readonly #entries = new Map<string, Entry>()

  /** For one more mount. */
  take(molecule: SharedMolecule): TreeLegacy {
    const key = JSON.stringify(molecule)
    const entry = this.#entries.get(key) ?? {
      key,
      generation: randomInt(2 ** 32),
      directories: [],
      users: 0,
    }
    entry.users += 1
    this.#entries.set(key, entry)
    return entry
  }

  /** A tree has more memory. */
  add(key: string, chunk: SharedArrayBuffer): void {
    this.#entries.get(key)?.directories.push(chunk)
  }

  /** A mount has ended. */
  release({ key }: TreeLegacy): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    entry.users -= 1
    if (entry.users === 0) this.#entries.delete(key)
  }
}
