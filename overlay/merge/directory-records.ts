import type { Name, NodeId } from '../../src/base/index.ts'

/** Bytes of one piece of the memory. No record lies across two. */
const CHUNK = 64 << 10
/** Records begin at multiples of this. */
const CELL = 32
/**
 * A record: its length in cells and the length of its name (u16 each), whether it is in use (u32), the node, its parent and
 * its lookups (f64 each), and then the bytes of the name. A record that is given back keeps its length.
 */
const HEADER = 32
const IN_USE = 1

/** Memory of what is known of directories, in pieces that other threads can hold. */
export interface RecordMemory {
  readonly chunks: readonly SharedArrayBuffer[]
  /** Told of each new piece before anything lies in it. */
  grown(chunk: SharedArrayBuffer): void
}

/** Place of a record. */
export type RecordAt = number

interface Chunk {
  readonly bytes: Buffer
  readonly shorts: Uint16Array
  readonly ints: Uint32Array
  readonly floats: Float64Array
}

/**
 * Directories that the kernel knows, in memory that outlives the thread that writes it: 64 bytes for each whose name is no
 * longer than 32. Only one thread at a time uses it. It may end at any point of its work; what it has written until then
 * can be read.
 */
export class DirectoryRecords {
  readonly #chunks: Chunk[]
  readonly #grown: (chunk: SharedArrayBuffer) => void
  /** Records that were given back, by their length in cells. */
  readonly #free: RecordAt[][] = []
  /** Where nothing has been written yet, up to the end of the last chunk. */
  #end: RecordAt

  /** @param memory what an earlier thread left; absent: memory of this thread alone */
  constructor(memory?: RecordMemory) {
    this.#grown = (chunk) => memory?.grown(chunk)
    this.#chunks = (memory?.chunks ?? []).map(viewsOf)
    this.#end = Math.max(0, this.#chunks.length - 1) * CHUNK
    for (const at of this.#written()) if (!this.#isInUse(at)) this.#giveBack(at)
  }

  /** Bytes of memory, in use or not. */
  get size(): number {
    return this.#chunks.length * CHUNK
  }

  /** Adds a directory that has one lookup. */
  add(node: NodeId, parent: NodeId, name: Name): RecordAt {
    const cells = Math.ceil((HEADER + name.length) / CELL)
    const at = this.#free[cells]?.pop() ?? this.#append(cells)
    const { bytes, shorts, floats } = this.#chunk(at)
    const byte = at % CHUNK
    const [short, float] = [byte / 2, byte / 8]
    shorts[short + 1] = name.length
    floats[float + 1] = node
    floats[float + 2] = parent
    floats[float + 3] = 1
    bytes.write(name, byte + HEADER, 'latin1')
    this.#mark(at, IN_USE)
    return at
  }

  remove(at: RecordAt): void {
    this.#mark(at, 0)
    this.#giveBack(at)
  }

  /** Lookups that the kernel has not taken back. */
  lookups(at: RecordAt): number {
    return this.#float(at, 3)
  }

  /** @returns the sum */
  addLookups(at: RecordAt, count: number): number {
    const { floats } = this.#chunk(at)
    const float = (at % CHUNK) / 8 + 3
    const sum = (floats[float] ?? 0) + count
    floats[float] = sum
    return sum
  }

  node(at: RecordAt): NodeId {
    return this.#float(at, 1)
  }

  parent(at: RecordAt): NodeId {
    return this.#float(at, 2)
  }

  name(at: RecordAt): Name {
    const { bytes, shorts } = this.#chunk(at)
    const byte = at % CHUNK
    return bytes.toString('latin1', byte + HEADER, byte + HEADER + (shorts[byte / 2 + 1] ?? 0))
  }

  /** All that are in use. */
  *all(): Generator<RecordAt> {
    for (const at of this.#written()) if (this.#isInUse(at)) yield at
  }

  #append(cells: number): RecordAt {
    const length = cells * CELL
    if (Math.floor(this.#end / CHUNK) >= this.#chunks.length || (this.#end % CHUNK) + length > CHUNK) {
      const chunk = new SharedArrayBuffer(CHUNK)
      this.#grown(chunk)
      this.#end = this.#chunks.push(viewsOf(chunk)) * CHUNK - CHUNK
    }
    const at = this.#end
    this.#end += length
    const { shorts } = this.#chunk(at)
    shorts[(at % CHUNK) / 2] = cells
    return at
  }

  /** Goes through all records, and leaves `#end` behind the last one. */
  *#written(): Generator<RecordAt> {
    for (const [index, { shorts }] of this.#chunks.entries()) {
      let byte = 0
      for (let cells = shorts[0] ?? 0; cells > 0; cells = shorts[byte / 2] ?? 0) {
        const at = index * CHUNK + byte
        byte += cells * CELL
        this.#end = Math.max(this.#end, at + cells * CELL)
        yield at
        if (byte >= CHUNK) break
      }
    }
  }

  #giveBack(at: RecordAt): void {
    const cells = this.#chunk(at).shorts[(at % CHUNK) / 2] ?? 0
    this.#free[cells] ??= []
    this.#free[cells]?.push(at)
  }

  #isInUse(at: RecordAt): boolean {
    return this.#chunk(at).ints[(at % CHUNK) / 4 + 1] === IN_USE
  }

  #mark(at: RecordAt, state: number): void {
    this.#chunk(at).ints[(at % CHUNK) / 4 + 1] = state
  }

  #float(at: RecordAt, index: number): number {
    return this.#chunk(at).floats[(at % CHUNK) / 8 + index] ?? 0
  }

  #chunk(at: RecordAt): Chunk {
    const chunk = this.#chunks[Math.floor(at / CHUNK)]
    if (chunk === undefined) throw new RangeError(`no record at ${at}`)
    return chunk
  }
}

function viewsOf(memory: SharedArrayBuffer): Chunk {
  return {
    bytes: Buffer.from(memory),
    shorts: new Uint16Array(memory),
    ints: new Uint32Array(memory),
    floats: new Float64Array(memory),
  }
}
