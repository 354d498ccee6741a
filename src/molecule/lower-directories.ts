import type { FoundFiles, FoundLayer, PathText } from '../base/index.ts'
import { containerNamed } from '../kinds/containers.ts'
import { LAYER_TYPES } from '../kinds/kinds.ts'
import { imageOfLower } from './images/lower-images.ts'
import { type DirectoriesSource, parseSource } from './source.ts'

type FoundLower = Pick<FoundFiles, 'layers' | 'remarks'>

/** Finds the lower directories of an overlay. One may be an image (`imageOfLower`), or all images of a file that has several. */
export function findLowers({ lowers, followsRedirects, areDirectories }: DirectoriesSource): FoundFiles {
  const found = lowers.toReversed().map((path): FoundLower => {
    const image = areDirectories ? undefined : imageOfLower(path)
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
