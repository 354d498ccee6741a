import { type Container, type ImageFile, omitUndefined } from '../base/index.ts'
import { absolutePath } from '../sys/files/working-directory.ts'

/** One image in a file or on a block device, with nothing around it. */
export const BARE_FILE: Container = {
  name: 'file',
  title: 'an image file',
  claims: (_path, stats) => stats.isFile() || stats.isBlockDevice(),
  read: (path, rest) => (rest === undefined ? { container: 'file', path: absolutePath(path) } : undefined),
  describe: ({ path }) => path,
  atOffset: (source, offset) => ({ ...source, offset }),
  find({ path, offset }, { rootHash }) {
    const file: ImageFile = { label: path, path, ...omitUndefined({ offset, rootHash }) }
    return { layers: [file], plain: true, expectsRootHashes: false, imagePaths: [path] }
  },
}
