import { existsSync } from 'node:fs'
import { type Container, FsError, type PathText, systemPath, UsageError } from '../base/index.ts'
import { quote } from '../oci/digest.ts'
import { anchoredPath } from '../sys/files/working-directory.ts'

/** A directory of this machine, shown as a lower directory of an overlay is. */
export const PLAIN_DIRECTORY: Container = {
  name: 'directory',
  title: 'a directory',
  claims: (_path, stats) => stats.isDirectory(),
  read(path, rest) {
    if (rest !== undefined) {
      const wrong = 'exists but is no OCI image layout (it has no file oci-layout)'
      throw new FsError('EINVAL', `directory ${quote(path)} ${wrong}`)
    }
    if (isBrokenLayout(path)) {
      throw new FsError(
        'EINVAL',
        'an OCI image layout without its file oci-layout (it has index.json and blobs)',
      )
    }
    return { container: 'directory', path: anchoredPath(path) }
  },
  describe: ({ path }) => path,
  atOffset({ path }) {
    throw new UsageError(`offset= is for an image file, and ${path} is a directory`)
  },
  find: ({ path }) => ({
    layers: [{ directory: path, what: 'directory', followsRedirects: false }],
    plain: false,
    expectsRootHashes: false,
    // The server has the directory open from before the mount: it may be covered.
    imagePaths: [],
  }),
}

/** Shown as a tree of blobs it would be a surprise: whoever has such a directory wants the image in it. */
function isBrokenLayout(path: PathText): boolean {
  return ['index.json', 'blobs'].every((name) => existsSync(systemPath(`${path}/${name}`)))
}
