import { type Name, newNameHash } from '../../src/base/index.ts'
import { Column, rowNumbers, wholeNumbers } from './column.ts'

const CHUNK = 1 << 20
const NONE = 0

/**
 * The names of all directories of a tree: which inode a name of a directory has. A row costs some 30 bytes and the name.
 */
export class NameTable {
  readonly #parents = rowNumbers()
  readonly #inodes = rowNumbers()
  readonly #starts = wholeNumbers()
  readonly #lengths = new Column((length) => new Uint8Array(length))
  /** The next name of the same directory, plus 1. */
  readonly #siblings = rowNumbers()
  readonly #chunks: Buffer[] = []
  #used = CHUNK
  readonly #hash = newNameHash()
  /** Rows by hash, plus 1; open addressing. */
  #slots = new Uint32Array(2048)

  get length(): number {
    return this.#parents.length
  }

  /** @returns the row; undefined where the directory has no such name */
  find(parent: number, name: Name): number | undefined {
    const row = (this.#slots[this.#slotOf(parent, Buffer.from(name, 'latin1'))] ?? NONE) - 1
    return row < 0 ? undefined : row
  }

  /** Adds a name that the directory does not have. @param sibling a name of it, by its row plus 1; 0 for none */
  add(parent: number, name: Name, inode: number, sibling: number): number {
    if ((this.length + 1) * 2 > this.#slots.length) this.#grow()
    const bytes = Buffer.from(name, 'latin1')
    const slot = this.#slotOf(parent, bytes)
    const row = this.#parents.push(parent)
    this.#inodes.push(inode)
    this.#starts.push(this.#store(bytes))
    this.#lengths.push(bytes.length)
    this.#siblings.push(sibling)
    this.#slots[slot] = row + 1
    return row
  }

  inodeOf(row: number): number {
    return this.#inodes.at(row)
  }

  setInode(row: number, inode: number): void {
    this.#inodes.set(row, inode)
  }

  /** Inode of the directory. */
  parentOf(row: number): number {
    return this.#parents.at(row)
  }

  siblingOf(row: number): number {
    return this.#siblings.at(row)
  }

  bytesOf(row: number): Buffer {
    const start = this.#starts.at(row)
    const at = start % CHUNK
    return (this.#chunks[Math.floor(start / CHUNK)] ?? Buffer.alloc(0)).subarray(
      at,
      at + this.#lengths.at(row),
    )
  }

  #store(name: Buffer): number {
    if (this.#used + name.length > CHUNK) {
      this.#chunks.push(Buffer.allocUnsafeSlow(CHUNK))
      this.#used = 0
    }
    const start = (this.#chunks.length - 1) * CHUNK + this.#used
    this.#chunks.at(-1)?.set(name, this.#used)
    this.#used += name.length
    return start
  }

  /** Where the name stands, or would. */
  #slotOf(parent: number, name: Buffer): number {
    const mask = this.#slots.length - 1
    for (let slot = this.#hash(parent, name) & mask; ; slot = (slot + 1) & mask) {
      const row = (this.#slots[slot] ?? NONE) - 1
      if (row < 0 || (this.#parents.at(row) === parent && this.#isNamed(row, name))) return slot
    }
  }

  #isNamed(row: number, name: Buffer): boolean {
    return this.#lengths.at(row) === name.length && this.bytesOf(row).equals(name)
  }

  #grow(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2)
    const mask = this.#slots.length - 1
    for (let row = 0; row < this.length; row++) {
      let slot = this.#hash(this.#parents.at(row), this.bytesOf(row)) & mask
      while (this.#slots[slot] !== NONE) slot = (slot + 1) & mask
      this.#slots[slot] = row + 1
    }
  }
}
