import type { VerityTable } from '../../src/verity/index.ts'
import { PAGE } from './layout.ts'

/** The hash tree of a blob, which lies behind the header of the index. @param size bytes of the blob */
export function blobTree(size: number): Omit<VerityTable, 'rootHash'> {
  return {
    hashType: 1,
    algorithm: 'sha256',
    dataBlockSize: PAGE,
    hashBlockSize: PAGE,
    dataBlocks: Math.ceil(size / PAGE),
    salt: new Uint8Array(0),
    treeOffset: PAGE,
  }
}
