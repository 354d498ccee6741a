import fs from 'node:fs'
import { type PathText, systemPath, withFsError } from '../../base/index.ts'
import { realPathOrItself } from '../../sys/files/real-path.ts'

/** What podman-hpc calls the image of a whole store of layers, which stands beside an empty folder. */
const IMAGE_SUFFIX = '.squash'

/**
 * The image that stands for a lower directory: a file, a part of one (`FILE:NUMBER`), or `X.squash` beside an X that is
 * missing or empty.
 * @returns SOURCE of it; undefined where the directory itself is meant
 */
export function imageOfLower(path: PathText): PathText | undefined {
  const stat = fs.statSync(systemPath(path), { throwIfNoEntry: false })
  if (stat?.isFile() || (stat === undefined && isPartOfFile(path))) return path
  const image = imageBeside(path)
  if (image === undefined || stat === undefined) return image
  const isEmpty = withFsError(path, () => fs.readdirSync(systemPath(path))).length === 0
  return isEmpty ? image : undefined
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
