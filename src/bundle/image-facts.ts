import { FsError, isErrno, type PathText } from '../base/index.ts'
import { type ContentsRequest, openContents, readFile } from '../contents/index.ts'
import { imageConfig, namedSource } from '../molecule/source.ts'
import { NO_CONFIG, runConfigOf } from './spec/image-config.ts'
import type { ImageFacts } from './spec/runtime-spec.ts'
import type { ReadText } from './spec/users.ts'

/** Bytes of a list of users or groups: those of the largest sites have some 100 bytes an entry. */
const LIST_MAX = 16 << 20

/**
 * Reads what of an image decides about a container, without a mount.
 * @param use gets it while the image is open
 * @throws FsError with one line, as a mount; EIO for damage; UsageError
 */
export function withImageFacts<T>(request: ContentsRequest, use: (facts: ImageFacts) => T): T {
  const [source, label] = namedSource(request.source)
  const document = imageConfig(source)
  const config = document === undefined ? NO_CONFIG : runConfigOf(document, `configuration of ${label}`)
  const contents = openContents(request)
  const read: ReadText = (path) => {
    try {
      return decodeText(readFile(contents, path), path)
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
      throw error
    }
  }
  try {
    return use({ label, config, read })
  } finally {
    contents.close()
  }
}

function decodeText(pieces: Iterable<Uint8Array>, path: PathText): string {
  const read: Uint8Array[] = []
  let length = 0
  for (const piece of pieces) {
    length += piece.length
    if (length > LIST_MAX) throw new FsError('EFBIG', `${path} of the image: more than ${LIST_MAX} bytes`)
    read.push(piece)
  }
  return Buffer.concat(read).toString('utf8')
}
