import fs from 'node:fs'
import { type FoundFiles, type FoundLayer, type PathText, systemPath } from '../base/index.ts'
import { realPathOrItself } from '../sys/files/real-path.ts'
import type { DirectoriesSource } from './source.ts'

/** What podman-hpc calls the image of a whole store of layers, which stands beside an empty folder. */
const IMAGE_SUFFIX = '.squash'

/**
 * Finds the lower directories of an overlay. One that is a file is an image, and so is `X.squash` beside an X that is
 * missing or empty.
 */
export function findLowers({ lowers, followsRedirects }: DirectoriesSource): FoundFiles {
  const layers = lowers.toReversed().map((path): FoundLayer => {
    const image = imageOf(path)
    if (image !== undefined) return { label: image, path: image }
    return { directory: path, what: 'lower directory', followsRedirects }
  })
  return { layers, plain: false, expectsRootHashes: false, imagePaths: [] }
}

/** The image file that stands for a lower directory; undefined where the directory itself does. */
function imageOf(path: PathText): PathText | undefined {
  const stat = fs.statSync(systemPath(path), { throwIfNoEntry: false })
  if (stat?.isFile()) return path
  const image = imageBeside(path)
  if (image === undefined || (stat !== undefined && fs.readdirSync(systemPath(path)).length > 0))
    return undefined
  return image
}

function imageBeside(path: PathText): PathText | undefined {
  const plain = path.replace(/\/+$/, '')
  return [plain, realPathOrItself(plain)]
    .map((one) => one + IMAGE_SUFFIX)
    .find((one) => fs.existsSync(systemPath(one)))
}
