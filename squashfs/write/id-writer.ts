import { FsError } from '../../src/base/index.ts'
import { RecordBuffer } from './record.ts'

/** Indexes have 16 bits, and the superblock counts them in 16 bits (squashfs: ID Table). */
const IDS_MAX = 65_535

/** User and group ids, each once. */
export class IdWriter {
  readonly #indexes = new Map<number, number>()

  get count(): number {
    return this.#indexes.size
  }

  /** @throws FsError EOVERFLOW for more different ids than an image can have; EINVAL for what is no id */
  index(id: number): number {
    const known = this.#indexes.get(id)
    if (known !== undefined) return known
    if (!Number.isInteger(id) || id < 0 || id > 0xffff_ffff)
      throw new FsError('EINVAL', `id ${id}: 0 to 4294967295 are allowed`)
    if (this.count === IDS_MAX) {
      throw new FsError(
        'EOVERFLOW',
        `more than ${IDS_MAX} different user and group ids, all that squashfs has room for; map some together`,
      )
    }
    this.#indexes.set(id, this.count)
    return this.count - 1
  }

  *records(): Generator<Uint8Array> {
    const record = new RecordBuffer()
    for (const id of this.#indexes.keys()) yield record.clear().u32(id).bytes
  }
}
