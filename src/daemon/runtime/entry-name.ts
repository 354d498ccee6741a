import { createHash } from 'node:crypto'
import { encodePath, NAME_MAX, type PathText, printable } from '../../base/index.ts'

/**
 * Name of a target's folder: the absolute path without its first slash, other slashes as dashes, as atomfs
 * has it. What is too long for a file name is cut and ends in a hash of the whole.
 */
export function entryName(target: PathText): string {
  const dashed = dashedName(target)
  return Buffer.byteLength(dashed) <= NAME_MAX ? dashed : distinctName(target)
}

/** Bytes that are no UTF-8 are written out. */
function dashedName(target: PathText): string {
  return printable(target.slice(1).replaceAll('/', '-'))
}

/** Names that the entry of a target may have, the usual one first. Few mounts need the second, and a hash for it. */
export function* namesOf(target: PathText): Generator<PathText, void> {
  yield entryName(target)
  yield distinctName(target)
}

/** Mounts of one user that their callers made on descriptors of the same number, most at once. */
const MOST_DESCRIPTORS = 4096

/** As `namesOf`, for a target that is a descriptor of its process: others have the same path for other mounts. */
export function* namesOfDescriptor(target: PathText): Generator<PathText, void> {
  yield entryName(target)
  for (let number = 2; number <= MOST_DESCRIPTORS; number++) yield `${entryName(target)}-${number}`
}

/** Two targets can have the same dashed name (`/a/b`, `/a-b`): the later one gets this name. */
function distinctName(target: PathText): string {
  const hash = createHash('sha256').update(encodePath(target)).digest('hex').slice(0, 32)
  let head = dashedName(target)
  while (Buffer.byteLength(head) > NAME_MAX - hash.length - 1) {
    head = Array.from(head).slice(0, -1).join('')
    const excess = Buffer.byteLength(head) - (NAME_MAX - hash.length - 1)
    // A character is at most four bytes, so this many can go at once.
    if (excess > 4)
      head = Array.from(head)
        .slice(0, -Math.floor(excess / 4))
        .join('')
  }
  return `${head}-${hash}`
}
