import { closeSync, constants, openSync, readSync } from 'node:fs'
import {
  type Container,
  type ImageFile,
  type NamedSource,
  omitUndefined,
  systemPath,
  withFsError,
} from '../base/index.ts'
import { hasSecondCopy, isHeaderMagic } from '../crypt/luks/magic.ts'
import { absolutePath } from '../sys/files/working-directory.ts'

/** What nearly all files begin with that are mounted; nothing is searched in them. */
const SQUASHFS = 0x73717368

/** One image in a file or on a block device, with nothing around it. */
export const BARE_FILE: Container = {
  name: 'file',
  title: 'an image file',
  claims: (_path, stats) => stats.isFile() || stats.isBlockDevice(),
  read: (path, rest) => (rest === undefined ? { container: 'file', path: absolutePath(path) } : undefined),
  describe: ({ path }) => path,
  atOffset: (source, offset) => ({ ...source, offset }),
  locked: (source) => (mayBeEncrypted(source) ? [imageOf(source)] : []),
  find(source, { rootHash }) {
    const file: ImageFile = { ...imageOf(source), ...omitUndefined({ rootHash }) }
    return { layers: [file], plain: true, expectsRootHashes: false, imagePaths: [source.path] }
  },
}

function imageOf({ path, offset }: NamedSource): ImageFile {
  return { label: path, path, ...omitUndefined({ offset }) }
}

/** Whether a copy of the header of LUKS lies where one can. @throws FsError */
function mayBeEncrypted({ path, offset = 0 }: NamedSource): boolean {
  return withFsError(path, () => {
    const fd = openSync(systemPath(path), constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const read = (position: number, target: Uint8Array): boolean =>
        readSync(fd, target, 0, target.length, offset + position) === target.length
      const head = Buffer.alloc(8)
      if (!read(0, head) || head.readUInt32LE() === SQUASHFS) return false
      return isHeaderMagic(head, 'primary') || hasSecondCopy(read)
    } finally {
      closeSync(fd)
    }
  })
}
