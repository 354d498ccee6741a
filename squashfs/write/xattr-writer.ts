import { hash } from 'node:crypto'
import { FsError, type Name, XATTR_NAME_MAX } from '../../src/base/index.ts'
import { OUT_OF_LINE, PREFIXES } from '../xattr.ts'
import { type Compress, MetadataWriter } from './metadata-writer.ts'
import { RecordBuffer } from './record.ts'
import { NONE } from './tree.ts'

/** A reference to a value is 8 bytes: shorter values are always written in place. */
const REFERENCE_SIZE = 8
const VALUE_MAX = 65_536
const SETS_MAX = NONE
/** Of a text that is its own key: shorter than a digest, so that it is none. */
const KEY_MAX = 31

export type Attribute = readonly [name: Name, value: Uint8Array]

interface WrittenSet {
  readonly attributes: readonly Attribute[]
  /** Block × 65536 + offset of the pairs. */
  readonly reference: number
  readonly count: number
  readonly size: number
}

/** Collects sets of extended attributes; equal sets are stored once, and so are equal values of some length. */
export class XattrWriter {
  readonly #pairs: MetadataWriter
  readonly #sets: WrittenSet[] = []
  /** By their keys. */
  readonly #known = new Map<string, number>()
  /** References of values that stand in the table, by their keys. */
  readonly #values = new Map<string, number>()
  readonly #record = new RecordBuffer()

  constructor(compress: Compress | undefined) {
    this.#pairs = new MetadataWriter(compress)
  }

  get count(): number {
    return this.#sets.length
  }

  /**
   * @returns the index of the set, or NONE for no attributes
   * @throws FsError EOPNOTSUPP for a name that squashfs has no prefix for; E2BIG, ERANGE for what is too long
   */
  add(attributes: readonly Attribute[]): number {
    if (attributes.length === 0) return NONE
    const sorted = [...attributes].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    const key = keyOf(sorted.map(([name, value]) => `${name}\0${value.length}\0${latin1(value)}`).join(''))
    const known = this.#known.get(key)
    if (known !== undefined) return known
    if (this.#sets.length >= SETS_MAX)
      throw new FsError('ENOSPC', 'more sets of attributes than squashfs can have')
    const { block, offset } = this.#pairs.position
    let size = 0
    for (const [name, value] of sorted) size += this.#write(name, value)
    const reference = block * 65_536 + offset
    const index = this.#sets.push({ attributes: sorted, reference, count: sorted.length, size }) - 1
    this.#known.set(key, index)
    return index
  }

  /** The attributes of a set. @param index as `add` gave it */
  attributesOf(index: number): readonly Attribute[] {
    return this.#sets[index]?.attributes ?? []
  }

  /** @returns bytes that it takes in the table */
  #write(name: Name, value: Uint8Array): number {
    const prefix = PREFIXES.findIndex((one) => name.startsWith(one))
    if (prefix < 0)
      throw new FsError(
        'EOPNOTSUPP',
        `attribute ${JSON.stringify(name)}: squashfs has user, trusted and security`,
      )
    const rest = Buffer.from(name.slice(PREFIXES[prefix]?.length), 'latin1')
    if (rest.includes(0)) {
      throw new FsError('EINVAL', `attribute ${JSON.stringify(name)}: a NUL in its name`)
    }
    if (name.length > XATTR_NAME_MAX || rest.length === 0) {
      throw new FsError(
        'ERANGE',
        `attribute name of ${name.length} bytes, 1 to ${XATTR_NAME_MAX} after its prefix are allowed`,
      )
    }
    if (value.length > VALUE_MAX) {
      throw new FsError(
        'E2BIG',
        `attribute ${JSON.stringify(name)} of ${value.length} bytes, at most ${VALUE_MAX}`,
      )
    }
    const text = value.length > REFERENCE_SIZE ? keyOf(latin1(value)) : undefined
    const reference = text === undefined ? undefined : this.#values.get(text)
    const type = prefix | (reference === undefined ? 0 : OUT_OF_LINE)
    this.#pairs.write(this.#record.clear().u16(type).u16(rest.length).raw(rest).bytes)
    if (reference !== undefined) {
      this.#pairs.write(this.#record.clear().u32(REFERENCE_SIZE).u64(reference).bytes)
      return 4 + rest.length + 4 + REFERENCE_SIZE
    }
    const { block, offset } = this.#pairs.position
    if (text !== undefined) this.#values.set(text, block * 65_536 + offset)
    this.#pairs.write(this.#record.clear().u32(value.length).bytes)
    this.#pairs.write(value)
    return 4 + rest.length + 4 + value.length
  }

  /** The metadata blocks with all pairs. */
  finish(): Uint8Array {
    return this.#pairs.finish()
  }

  /** The records of the table of sets. */
  *records(): Generator<Uint8Array> {
    for (const { reference, count, size } of this.#sets) {
      yield this.#record.clear().u64(reference).u32(count).u32(size).bytes
    }
  }
}

/** Stands for a text in tables: itself, or a digest of one that would take more memory. */
function keyOf(text: string): string {
  return text.length <= KEY_MAX
    ? text
    : hash('sha256', Buffer.from(text, 'latin1'), 'buffer').toString('latin1')
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}
