import { type Stats, statSync } from 'node:fs'
import { codeOf, FsError, type PathText, systemPath } from '../base/index.ts'
import { absolutePath } from '../sys/files/working-directory.ts'
import { descriptorOf } from '../sys/plain/proc.ts'
import { looksLikeDigest, quote } from './digest.ts'
import { isLayout } from './select.ts'

/** What a SOURCE of the command line names. */
export type ImageSource =
  | {
      readonly kind: 'oci'
      /** Absolute. */
      readonly ociDir: PathText
      /** As `readImage` takes it: a tag, a digest, or nothing. */
      readonly reference: string
    }
  | {
      readonly kind: 'file'
      /** Absolute; for an inherited descriptor as it was given. */
      readonly path: PathText
      /** Set where the path names a descriptor of this process: another process must be handed the descriptor. */
      readonly fd?: number
    }

/**
 * Reads SOURCE: `OCIDIR:TAG`, `OCIDIR@DIGEST` (also `OCIDIR:DIGEST`), `OCIDIR` alone, each also with `oci:` before it,
 * or a squashfs file or block device. Directory and tag may contain colons themselves: the last colon that leaves an
 * existing directory separates them.
 * @throws FsError ENOENT or EINVAL, saying what was tried.
 */
export function parseSource(text: string): ImageSource {
  if (text === '') throw new FsError('EINVAL', 'the source is empty: give OCIDIR:TAG or a squashfs file')
  if (text.includes('\0')) throw new FsError('EINVAL', `source ${quote(text)}: contains a NUL character`)
  const file = parseFile(text)
  if (file !== undefined) return file
  // "oci:" is the transport prefix of other tools; a directory that is called "oci" is the second reading.
  const readings = text.startsWith('oci:') ? [text.slice('oci:'.length), text] : [text]
  for (const reading of readings) {
    const source = parseReference(reading)
    if (source !== undefined) return source
  }
  throw notFound(text, readings)
}

function parseFile(text: string): ImageSource | undefined {
  const stat = statOf(text)
  const fd = descriptorOf(text)
  if (stat === undefined) {
    if (fd !== undefined) throw new FsError('ENOENT', `source ${quote(text)}: no such open file descriptor`)
    return undefined
  }
  if (stat.isDirectory()) return undefined
  if (!stat.isFile() && !stat.isBlockDevice()) {
    throw new FsError('EINVAL', `source ${quote(text)} is neither a regular file nor a block device`)
  }
  return fd === undefined ? { kind: 'file', path: absolutePath(text) } : { kind: 'file', path: text, fd }
}

function parseReference(text: string): ImageSource | undefined {
  for (const [directory, reference] of splits(text)) {
    if (!isDirectory(directory)) continue
    if (!isLayout(directory)) throw notALayout(text, directory)
    return { kind: 'oci', ociDir: absolutePath(directory), reference }
  }
  return undefined
}

/** The ways to read a text as a directory and what is in it, the longest directory first. */
function* splits(text: string): Generator<readonly [directory: string, reference: string]> {
  yield [text, '']
  const at = text.lastIndexOf('@')
  if (at > 0 && looksLikeDigest(text.slice(at + 1))) yield [text.slice(0, at), text.slice(at + 1)]
  for (let colon = text.lastIndexOf(':'); colon > 0; colon = text.lastIndexOf(':', colon - 1)) {
    yield [text.slice(0, colon), text.slice(colon + 1)]
  }
}

function notFound(text: string, readings: readonly string[]): FsError {
  const reading = readings[0] ?? text
  const colon = reading.lastIndexOf(':')
  if (colon <= 0) {
    return new FsError('ENOENT', `source ${quote(text)}: no such file, and it is not OCIDIR:TAG either`)
  }
  const directory = reading.slice(0, colon)
  const what = statOf(directory) === undefined ? 'no such directory' : 'not a directory'
  return new FsError(
    'ENOENT',
    `source ${quote(text)}: no such file, and as OCIDIR:TAG ${quote(directory)} is ${what}`,
  )
}

function notALayout(text: string, directory: PathText): FsError {
  if (text === directory) {
    return new FsError(
      'EINVAL',
      `source ${quote(text)} is a directory without oci-layout: give OCIDIR:TAG or a squashfs file`,
    )
  }
  return new FsError(
    'EINVAL',
    `source ${quote(text)}: directory ${quote(directory)} exists but is no OCI image layout (it has no file oci-layout)`,
  )
}

function isDirectory(path: PathText): boolean {
  return statOf(path)?.isDirectory() ?? false
}

/** @returns undefined where there is nothing. @throws FsError where that cannot be told */
function statOf(path: PathText): Stats | undefined {
  try {
    return statSync(systemPath(path))
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined
    if (code === 'EACCES')
      throw new FsError('EACCES', `source ${quote(path)}: permission denied`, { cause: error })
    throw new FsError('EIO', `source ${quote(path)}: ${code ?? String(error)}`, { cause: error })
  }
}
