import type { ByteSource } from '../../src/base/index.ts'
import { decodeHeader, type IndexHeader, PAGE } from './layout.ts'

/** What the header of an index says. @throws FsError EINVAL for what is no index, EIO for damage */
export function readIndexHeader(source: ByteSource): IndexHeader {
  const page = new Uint8Array(Math.min(PAGE, source.size))
  source.readInto(0, page)
  return decodeHeader(page, source.label)
}
