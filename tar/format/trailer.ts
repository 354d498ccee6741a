import { hash } from 'node:crypto'
import { fstatSync, readSync, writeSync } from 'node:fs'
import { ByteReader, FsError } from '../../src/base/index.ts'
import { PAGE } from './layout.ts'

export { VERSION as INDEX_VERSION } from './layout.ts'

const MAGIC = 'atomfsrt'
const HASH_AT = 8
const HASH_SIZE = 32
const NEEDS_AT = 40
const VERSION_AT = 44
const LENGTH_AT = 48
const SUM_AT = 56

const NEEDS_DIRECTORIES = 1
const NEEDS_FILES = 2

/** The last page of a file that was made of a layer: what the rest of the file is believed by. */
export interface Trailer {
  /** Hex, of the hash tree over what stands before it. */
  readonly rootHash: string
  /** Bytes before the hash tree. */
  readonly dataLength: number
  /** Of the form of the file. */
  readonly version: number
  /** What the layer takes for granted of the layers below it. */
  readonly needs: { readonly directories: boolean; readonly files: boolean }
}

/** Writes the page behind the hash tree of such a file. */
export function writeTrailer(fd: number, { rootHash, dataLength, version, needs }: Trailer): void {
  const page = Buffer.alloc(PAGE)
  page.write(MAGIC, 0, 'latin1')
  page.write(rootHash, HASH_AT, HASH_SIZE, 'hex')
  page.writeUInt32LE((needs.directories ? NEEDS_DIRECTORIES : 0) + (needs.files ? NEEDS_FILES : 0), NEEDS_AT)
  page.writeUInt32LE(version, VERSION_AT)
  page.writeBigUInt64LE(BigInt(dataLength), LENGTH_AT)
  sumOf(page).copy(page, SUM_AT)
  const end = Math.ceil(fstatSync(fd).size / PAGE) * PAGE
  for (let done = 0; done < PAGE; ) done += writeSync(fd, page, done, PAGE - done, end + done)
}

/**
 * The last page of such a file, which must lie where nobody else can change it: all else of it, and the blob, are believed
 * because of it.
 * @throws FsError EIO where the file has another end
 */
export function readTrailer(fd: number, label: string): Trailer {
  const page = Buffer.alloc(PAGE)
  const { size } = fstatSync(fd)
  const count = size < PAGE ? 0 : readSync(fd, page, 0, PAGE, size - PAGE)
  const isTrailer =
    count === PAGE &&
    page.toString('latin1', 0, HASH_AT) === MAGIC &&
    sumOf(page).equals(page.subarray(SUM_AT, SUM_AT + HASH_SIZE))
  if (!isTrailer) throw new FsError('EIO', `${label}: index of a layer: its last page is damaged`)
  const reader = ByteReader.over(page.subarray(NEEDS_AT, SUM_AT), `${label}: last page of an index`)
  const [needs, version, dataLength] = [reader.u32(), reader.u32(), reader.offset64()]
  return {
    rootHash: page.toString('hex', HASH_AT, HASH_AT + HASH_SIZE),
    dataLength,
    version,
    needs: { directories: (needs & NEEDS_DIRECTORIES) !== 0, files: (needs & NEEDS_FILES) !== 0 },
  }
}

function sumOf(page: Buffer): Buffer {
  return Buffer.from(hash('sha256', page.subarray(0, SUM_AT), 'hex'), 'hex')
}
