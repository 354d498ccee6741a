import { ExtentReader, FsError, isDirectory, isRegular, type PathText } from '../base/index.ts'
import { readHostFile } from '../molecule/index.ts'
import { findEntry } from './find.ts'
import type { Contents } from './source-contents.ts'

/** Bytes of one piece. */
const CHUNK = 1 << 20

/**
 * The content of a regular file, verified where there is a root hash, piece by piece: no piece is read before it is asked
 * for.
 * @throws FsError ENOENT, ENOTDIR, ELOOP for the path; EISDIR, EINVAL for what is no file; EIO for damage
 */
export function* readFile(contents: Contents, path: PathText): Generator<Uint8Array> {
  const { fileSystem, store, name } = contents
  const { nodeId, stat } = findEntry(contents, path)
  if (isDirectory(stat.mode)) throw new FsError('EISDIR', `${name}: ${path} is a directory`)
  if (!isRegular(stat.mode)) throw new FsError('EINVAL', `${name}: ${path} is no regular file`)
  const reader = new ExtentReader(store, readHostFile, { cacheSize: 0 })
  for (let at = 0; at < stat.size; ) {
    const length = Math.min(CHUNK, stat.size - at)
    const piece = Buffer.allocUnsafeSlow(length)
    let filled = 0
    reader.read(
      (sink) => fileSystem.read(nodeId, at, length, sink),
      (bytes) => {
        filled += bytes
        return piece.subarray(filled - bytes, filled)
      },
    )
    if (filled !== length) throw new FsError('EIO', `${name}: ${path} has fewer than ${stat.size} bytes`)
    yield piece
    at += length
  }
}
