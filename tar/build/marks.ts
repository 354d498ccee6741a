import { FsError, type Name } from '../../src/base/index.ts'

const PREFIX = '.wh.'
/** What AUFS keeps for itself (`.wh..wh.plnk`), and the mark of an opaque directory. */
const AUFS = '.wh..wh.'

/**
 * Whether an entry is a mark, whatever its type: some archives have whiteouts that are hard links (image-spec, layer.md,
 * "Whiteouts").
 * @throws FsError EINVAL for a whiteout of no name, and for what lies below a mark
 */
export function isMark(path: Name): boolean {
  if (!path.includes(PREFIX)) return false
  const names = path.split('/')
  const name = names.pop() ?? ''
  if (names.some((folder) => folder.startsWith(PREFIX))) {
    throw new FsError('EINVAL', `${JSON.stringify(path)}: something lies below a whiteout`)
  }
  if (!name.startsWith(PREFIX)) return false
  const hidden = name.slice(PREFIX.length)
  if (!name.startsWith(AUFS) && (hidden === '' || hidden === '.' || hidden === '..')) {
    throw new FsError('EINVAL', `${JSON.stringify(path)}: a whiteout of no name`)
  }
  return true
}
