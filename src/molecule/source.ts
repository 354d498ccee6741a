import { type Stats, statSync } from 'node:fs'
import { codeOf, FsError, type PathText, systemPath, UsageError } from '../base/index.ts'
import { looksLikeDigest, quote } from '../oci/digest.ts'
import { isLayout } from '../oci/layout.ts'
import { absolutePath } from '../sys/files/working-directory.ts'
import { descriptorOf } from '../sys/plain/proc.ts'

/**
 * What is to be mounted, and what holds it: from the command line or the library to the end of the mount. Text of a
 * user is read once, by `parseSource`; a path or a tag may hold any character.
 */
export type MountSource = OciSource | FileSource | DirectoriesSource

/** An image of an OCI layout. Without tag and digest: the only one. */
export interface OciSource {
  readonly container: 'oci'
  /** Absolute. */
  readonly path: PathText
  /** As the layout has it. */
  readonly tag?: string
  /** `algorithm:hex` of a manifest or an index. */
  readonly digest?: string
}

/** One image in a file or on a block device. */
export interface FileSource {
  readonly container: 'file'
  /** Absolute; of an inherited descriptor `/dev/fd/N` or `/proc/self/fd/N`. */
  readonly path: PathText
  /** Byte position of the image; 0 where absent. */
  readonly offset?: number
}

/** Directories and images to merge, with the rules of overlayfs. */
export interface DirectoriesSource {
  readonly container: 'directories'
  /** Absolute, the topmost first. */
  readonly lowers: readonly PathText[]
  /** Directories that were renamed in an overlay are continued where their redirects lead. */
  readonly followsRedirects: boolean
}

/** What SOURCE of the command line may name. */
export type NamedSource = OciSource | FileSource

/**
 * An image of a layout by the two parts of its name: nothing in them is split.
 * @param reference a tag or a digest; empty for the only image
 */
export function ociSource(ociDir: PathText, reference: string): OciSource {
  if (ociDir === '') throw new UsageError('the name of the image directory is empty')
  const path = absolutePath(ociDir)
  if (reference === '') return { container: 'oci', path }
  return looksLikeDigest(reference)
    ? { container: 'oci', path, digest: reference }
    : { container: 'oci', path, tag: reference }
}

/** As a user would write it, for messages. */
export function describeSource(source: NamedSource): PathText {
  if (source.container === 'file') return source.path
  const { path, tag, digest } = source
  if (digest !== undefined) return `${path}@${digest}`
  return tag === undefined ? path : `${path}:${tag}`
}

/** @param offset byte position of the image in its file. @throws UsageError for what is no file */
export function withOffset(source: NamedSource, offset: number | undefined): NamedSource {
  if (offset === undefined) return source
  if (source.container === 'file') return { ...source, offset }
  throw new UsageError('offset= is for an image file; the layers of an OCI image begin at byte 0')
}

/** Tag or digest as `readImage` takes them. */
export function referenceOf({ tag, digest }: OciSource): string {
  return digest ?? tag ?? ''
}

/**
 * Reads SOURCE: `OCIDIR:TAG`, `OCIDIR@DIGEST` (also `OCIDIR:DIGEST`), `OCIDIR` alone, each also with `oci:` before it,
 * or a squashfs file or block device. Directory and tag may contain colons themselves: the last colon that leaves an
 * existing directory separates them.
 * @throws FsError ENOENT or EINVAL, saying what was tried.
 */
export function parseSource(text: string): NamedSource {
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

/** @param source as `parseSource` takes it, or parsed. @returns it, and what the user calls it */
export function namedSource(source: string | NamedSource): [source: NamedSource, name: PathText] {
  return typeof source === 'string' ? [parseSource(source), source] : [source, describeSource(source)]
}

function parseFile(text: string): FileSource | undefined {
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
  return { container: 'file', path: fd === undefined ? absolutePath(text) : text }
}

function parseReference(text: string): OciSource | undefined {
  for (const [directory, reference] of splits(text)) {
    if (!isDirectory(directory)) continue
    if (!isLayout(directory)) throw notALayout(text, directory)
    return ociSource(directory, reference)
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
