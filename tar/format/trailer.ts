import { hash } from 'node:crypto'
import { fstatSync, readSync, writeSync } from 'node:fs'
import { FsError } from '../../src/base/index.ts'
import { PAGE } from './layout.ts'

/** The last page of the file of an index: its root hash, and a check sum of that. */
const MAGIC = 'atomfsrt'
const HASH_AT = 8
const SUM_AT = 40
const HASH_SIZE = 32

/** Writes the page behind the hash tree of an index. @param rootHash hex */
export function writeTrailer(fd: number, rootHash: string): void {
  const page = Buffer.alloc(PAGE)
  page.write(MAGIC, 0, 'latin1')
  page.write(rootHash, HASH_AT, HASH_SIZE, 'hex')
  sumOf(page).copy(page, SUM_AT)
  const end = Math.ceil(fstatSync(fd).size / PAGE) * PAGE
  writeSync(fd, page, 0, PAGE, end)
}

/**
 * The root hash of an index, hex. The file must lie where nobody else can change it: all else of the index, and the blob,
 * are believed because of it.
 * @throws FsError EIO where the end of the file is not that of an index
 */
export function readTrailer(fd: number, label: string): string {
  const page = Buffer.alloc(PAGE)
  const { size } = fstatSync(fd)
  const count = size < PAGE ? 0 : readSync(fd, page, 0, PAGE, size - PAGE)
  const isTrailer =
    count === PAGE &&
    page.toString('latin1', 0, HASH_AT) === MAGIC &&
    sumOf(page).equals(page.subarray(SUM_AT, SUM_AT + HASH_SIZE))
  if (isTrailer) return page.toString('hex', HASH_AT, HASH_AT + HASH_SIZE)
  throw new FsError('EIO', `${label}: index of a layer: its last page is damaged`)
}

function sumOf(page: Buffer): Buffer {
  return Buffer.from(hash('sha256', page.subarray(0, SUM_AT), 'hex'), 'hex')
}
