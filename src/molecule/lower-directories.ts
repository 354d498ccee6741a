import fs from 'node:fs'
import { recordInUse } from '../../overlay/index.ts'
import { errnoCodeOf, FsError, omitUndefined, type PathText, systemPath } from '../base/index.ts'
import { O_PATH } from '../sys/files/at.ts'
import { realPathOrItself } from '../sys/files/real-path.ts'
import { closeImage, openImage } from './image-file.ts'
import type { DirectoriesSource } from './source.ts'
import type { DirectorySpec, ImageSpec, LayerSpec, MoleculeSpec } from './spec.ts'

/** What podman-hpc calls the image of a whole store of layers, which stands beside an empty folder. */
const IMAGE_SUFFIX = '.squash'
/** Block size where no layer has blocks, bytes. */
const NO_BLOCKS = 128 << 10

/**
 * Opens the lower directories of an overlay. One that is a file is an image, and so is `X.squash` beside an
 * X that is missing or empty.
 * @throws FsError ENOENT, EACCES, EIO naming the path; nothing stays open then
 */
export function resolveLowers({ lowers, followsRedirects }: DirectoriesSource): MoleculeSpec {
  const images: ImageSpec[] = []
  const layers: LayerSpec[] = []
  try {
    for (const path of lowers.toReversed()) {
      const image = imageOf(path)
      if (image === undefined) layers.push(openLower(path, followsRedirects))
      else {
        const known = images.findIndex((one) => one.label === image)
        layers.push(known < 0 ? images.push(openImage({ label: image, path: image })) - 1 : known)
      }
    }
  } catch (error) {
    for (const image of images) closeImage(image)
    for (const layer of layers) if (typeof layer !== 'number') fs.closeSync(layer.fd)
    throw error
  }
  return {
    images,
    layers,
    plain: false,
    blockSize: Math.max(NO_BLOCKS, ...images.map(({ facts }) => facts.blockSize)),
    imagePaths: [],
  }
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

function openLower(path: PathText, followsRedirects: boolean): DirectorySpec {
  try {
    const fd = fs.openSync(systemPath(path), O_PATH | fs.constants.O_DIRECTORY)
    const ownerRecord = recordInUse(fd)
    return { label: path, fd, followsRedirects, ...omitUndefined({ ownerRecord }) }
  } catch (error) {
    const code = errnoCodeOf(error)
    throw new FsError(code, `lower directory ${path} cannot be opened: ${code}`, { cause: error })
  }
}
