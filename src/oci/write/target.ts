import { statSync } from 'node:fs'
import { FsError, type PathText, systemPath } from '../../base/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { looksLikeDigest, quote } from '../digest.ts'

/** Where an image is to go. */
export interface ImageTarget {
  /** Absolute. */
  readonly ociDir: PathText
  readonly tag: string
}

/** annotations.md, "org.opencontainers.image.ref.name". */
const TAG = /^[A-Za-z0-9]+(?:(?:[-._:@+/]|--)[A-Za-z0-9]+)*$/
const PREFIX = 'oci:'

/**
 * Reads `OCIDIR:TAG`. The directory may be missing; the last colon behind an existing directory separates, else the last
 * one.
 * @throws FsError EINVAL where there is no tag, or one that other programs do not take
 */
export function parseTarget(text: string): ImageTarget {
  const whole = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : text
  const colons = [...whole.matchAll(/:/g)].map(({ index }) => index).reverse()
  const colon = colons.find((at) => isDirectory(whole.slice(0, at))) ?? colons[0]
  if (colon === undefined || colon === 0 || whole.includes('\0')) {
    throw new FsError('EINVAL', `target ${quote(text)}: OCIDIR:TAG is needed`)
  }
  const tag = whole.slice(colon + 1)
  if (!TAG.test(tag) || looksLikeDigest(tag)) {
    throw new FsError(
      'EINVAL',
      `target ${quote(text)}: ${quote(tag)} is no tag: letters and digits are needed, with .-_:@+/ between them`,
    )
  }
  return { ociDir: absolutePath(whole.slice(0, colon)), tag }
}

function isDirectory(path: PathText): boolean {
  return statSync(systemPath(path), { throwIfNoEntry: false })?.isDirectory() === true
}
