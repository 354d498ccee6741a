import { type ByteSource, FsError } from '../src/base/index.ts'
import { readDescriptor, type SifObject } from './descriptor.ts'
import { RECORD_SIZE, readHeader, type SifHeader } from './header.ts'
import { fileSystemName, quoted, typeName } from './types.ts'

/** Records that are read at once. */
const RECORDS_PER_READ = 1024

/** A SIF file: what its header and its table of objects say. */
export interface Sif {
  readonly header: SifHeader
  /** Those in use, in the order of their records. Two may have one id in a file that was tampered with. */
  readonly objects: readonly SifObject[]
  readonly source: ByteSource
}

/**
 * Reads the header and all records of a SIF. Objects may overlap, lie in any order, or behind the end of a file that was
 * cut off: each is checked when it is used.
 * @param source stays the caller's
 * @throws FsError EINVAL for what is no SIF or one of another version; EIO where it is damaged or cannot be read
 */
export function readSif(source: ByteSource): Sif {
  const header = readHeader(source)
  const { total, tableOffset } = header
  const objects: SifObject[] = []
  for (let first = 0; first < total; first += RECORDS_PER_READ) {
    const count = Math.min(RECORDS_PER_READ, total - first)
    const bytes = new Uint8Array(count * RECORD_SIZE)
    source.readInto(tableOffset + first * RECORD_SIZE, bytes)
    for (let i = 0; i < count; i++) {
      const record = bytes.subarray(i * RECORD_SIZE, (i + 1) * RECORD_SIZE)
      const object = readDescriptor(record, first + i, source.label)
      if (object !== undefined) objects.push(object)
    }
  }
  return { header, objects, source }
}

/** The record of an object, as it lies there: signatures cover it. @throws FsError EIO */
export function recordOf({ header, source }: Sif, { slot }: SifObject): Uint8Array {
  const bytes = new Uint8Array(RECORD_SIZE)
  source.readInto(header.tableOffset + slot * RECORD_SIZE, bytes)
  return bytes
}

/** How messages name an object. */
export function objectTitle({ id, type, name, extra }: SifObject): string {
  const what = extra.of === 'partition' ? `${fileSystemName(extra.fileSystem)} partition` : typeName(type)
  return `object ${id} (${what}${name === '' ? '' : ` ${quoted(name)}`})`
}

/** @returns what is wrong with the place of an object in a file of this size; undefined where it lies in it */
export function misplacement(object: SifObject, fileSize: number): string | undefined {
  const { offset, size } = object
  if (!(offset >= 0 && size >= 0)) return `lies at byte ${offset} with ${size} bytes, which no file has`
  if (offset + size <= fileSize) return undefined
  return `ends at byte ${offset + size}, and the file at ${fileSize}: the file is cut off, copy it again`
}

/** @throws FsError EIO where an object does not lie in the file */
export function checkObject({ source }: Sif, object: SifObject): void {
  const wrong = misplacement(object, source.size)
  if (wrong !== undefined) throw new FsError('EIO', `${source.label}: ${objectTitle(object)} ${wrong}`)
}

/**
 * Reads a small object whole.
 * @param limit bytes
 * @throws FsError EIO where it is larger, or does not lie in the file
 */
export function readObject(sif: Sif, object: SifObject, limit: number): Buffer {
  checkObject(sif, object)
  const { label } = sif.source
  if (object.size > limit) {
    const wrong = `has ${object.size} bytes, at most ${limit} are read`
    throw new FsError('EIO', `${label}: ${objectTitle(object)} ${wrong}`)
  }
  const bytes = Buffer.alloc(object.size)
  if (bytes.length > 0) sif.source.readInto(object.offset, bytes)
  return bytes
}
