import { type ByteSource, FsError, viewOf } from '../src/base/index.ts'
import { MetadataCursor } from './metadata/metadata-cursor.ts'
import type { MetadataReader } from './metadata/metadata-reader.ts'
import { METADATA_SIZE, u64At } from './metadata/metadata-reference.ts'
import { MetadataTable } from './metadata/metadata-table.ts'

const LOCATION_SIZE = 8
const LOCATIONS_PER_READ = 512

/**
 * An array of equal records in metadata blocks, found through a list of block positions (squashfs: Storing
 * Lookup Tables). Only the part of the list that is needed is read.
 */
export class LookupTable {
  readonly count: number
  readonly #source: ByteSource
  readonly #blocks: MetadataTable
  readonly #listStart: number
  readonly #recordSize: number
  readonly #listLength: number
  #locations: DataView = new DataView(new ArrayBuffer(0))
  #firstLocation = 0

  /**
   * @param listStart position of the list of block positions
   * @param listEnd position that the list must not pass
   * @param lowest position before which none of its blocks may lie
   * @throws FsError EIO where the list does not fit
   */
  constructor(
    source: ByteSource,
    reader: MetadataReader,
    name: string,
    geometry: { count: number; recordSize: number; listStart: number; listEnd: number; lowest: number },
  ) {
    this.#source = source
    this.count = geometry.count
    this.#recordSize = geometry.recordSize
    this.#listStart = geometry.listStart
    this.#listLength = Math.ceil((geometry.count * geometry.recordSize) / METADATA_SIZE)
    this.#blocks = new MetadataTable(reader, geometry.lowest, geometry.listStart, name)
    const room = geometry.listEnd - geometry.listStart
    if (this.#listLength * LOCATION_SIZE > room) {
      throw new FsError(
        'EIO',
        `${this.#blocks.what}: ${geometry.count} entries need a list of ${this.#listLength} blocks, but there are ${room} bytes`,
      )
    }
  }

  /** Position of the first block: where the preceding table ends. */
  get start(): number {
    return this.count === 0 ? this.#listStart : this.#location(0)
  }

  /** @returns a cursor at the record; @throws FsError EIO where `index` is not below `count` */
  record(index: number): MetadataCursor {
    if (index >= this.count) {
      throw new FsError('EIO', `${this.#blocks.what}: index ${index}, but it has ${this.count} entries`)
    }
    const at = index * this.#recordSize
    return new MetadataCursor(
      this.#blocks,
      this.#location(Math.floor(at / METADATA_SIZE)),
      at % METADATA_SIZE,
    )
  }

  #location(index: number): number {
    const loaded = this.#locations.byteLength / LOCATION_SIZE
    if (index < this.#firstLocation || index >= this.#firstLocation + loaded) this.#load(index)
    const at = (index - this.#firstLocation) * LOCATION_SIZE
    const location = u64At(this.#locations, at)
    if (location < this.#blocks.start || location >= this.#blocks.end) {
      throw new FsError(
        'EIO',
        `${this.#blocks.what}: block ${index} at ${location}, expected ${this.#blocks.start}..${this.#blocks.end}`,
      )
    }
    return location
  }

  #load(index: number): void {
    const first = index - (index % LOCATIONS_PER_READ)
    const bytes = new Uint8Array(Math.min(LOCATIONS_PER_READ, this.#listLength - first) * LOCATION_SIZE)
    this.#source.readInto(this.#listStart + first * LOCATION_SIZE, bytes)
    this.#locations = viewOf(bytes)
    this.#firstLocation = first
  }
}
