import fs from 'node:fs'
import { type FoundFiles, type FoundLayer, type PathText, systemPath } from '../base/index.ts'
import { containerNamed } from '../kinds/containers.ts'
import { LAYER_TYPES } from '../kinds/kinds.ts'
import { realPathOrItself } from '../sys/files/real-path.ts'
import { type DirectoriesSource, parseSource } from './source.ts'

/** What podman-hpc calls the image of a whole store of layers, which stands beside an empty folder. */
const IMAGE_SUFFIX = '.squash'

type FoundLower = Pick<FoundFiles, 'layers' | 'remarks'>

/**
 * Finds the lower directories of an overlay. One that is a file is an image, or all images of a file that has several, and
 * so is `X.squash` beside an X that is missing or empty.
 */
export function findLowers({ lowers, followsRedirects }: DirectoriesSource): FoundFiles {
  const found = lowers.toReversed().map((path): FoundLower => {
    const image = imageOf(path)
    if (image !== undefined) return imagesIn(image)
    const layer: FoundLayer = { directory: path, what: 'lower directory', followsRedirects }
    return { layers: [layer] }
  })
  const remarks = found.flatMap((one) => one.remarks ?? [])
  return {
    layers: found.flatMap(({ layers }) => layers),
    plain: false,
    expectsRootHashes: false,
    imagePaths: [],
    ...(remarks.length > 0 ? { remarks } : {}),
  }
}

/** A SIF gives its primary partition with the overlays on it, or the one whose number follows it. */
function imagesIn(name: PathText): FoundLower {
  const source = parseSource(name)
  return containerNamed(source.container).find(source, { name, mediaTypes: LAYER_TYPES })
}

/** The image that stands for a lower directory; undefined where the directory itself does. */
function imageOf(path: PathText): PathText | undefined {
  const stat = fs.statSync(systemPath(path), { throwIfNoEntry: false })
  if (stat?.isFile() || (stat === undefined && isPartOfFile(path))) return path
  const image = imageBeside(path)
  if (image === undefined || (stat !== undefined && fs.readdirSync(systemPath(path)).length > 0))
    return undefined
  return image
}

/** `FILE:NUMBER`. */
function isPartOfFile(path: PathText): boolean {
  const file = /^(.+):\d+$/.exec(path)?.[1]
  return file !== undefined && fs.statSync(systemPath(file), { throwIfNoEntry: false })?.isFile() === true
}

function imageBeside(path: PathText): PathText | undefined {
  const plain = path.replace(/\/+$/, '')
  return [plain, realPathOrItself(plain)]
    .map((one) => one + IMAGE_SUFFIX)
    .find((one) => fs.existsSync(systemPath(one)))
}
