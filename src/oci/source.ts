import { existsSync, type Stats, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { FsError } from '../base/index.ts'
import { errorCode } from './blob.ts'
import { quote } from './digest.ts'
import { listTags } from './image.ts'

/** What a SOURCE of the command line names. */
export type ImageSource =
  | { readonly kind: 'oci' /** Absolute. */; readonly ociDir: string; readonly tag: string }
  | {
      readonly kind: 'squashfs'
      /** Absolute; for an inherited descriptor as it was given. */
      readonly path: string
      /** Set where the path names a descriptor of this process: another process must be handed the descriptor. */
      readonly fd?: number
    }

/**
 * Reads SOURCE: `OCIDIR:TAG`, `oci:OCIDIR:TAG`, or a squashfs file or block device. Directory and tag may contain
 * colons themselves: the last colon that leaves an existing directory separates them.
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
    const source = splitReference(reading)
    if (source !== undefined) return source
  }
  throw notFound(text, readings)
}

function parseFile(text: string): ImageSource | undefined {
  const stat = statOf(text)
  const fd = /^(?:\/proc\/self\/fd|\/dev\/fd)\/(\d{1,9})$/.exec(text)?.[1]
  if (stat === undefined) {
    if (fd !== undefined) throw new FsError('ENOENT', `source ${quote(text)}: no such open file descriptor`)
    return undefined
  }
  if (stat.isDirectory()) throw directoryWithoutTag(text)
  if (!stat.isFile() && !stat.isBlockDevice()) {
    throw new FsError('EINVAL', `source ${quote(text)} is neither a regular file nor a block device`)
  }
  return fd === undefined
    ? { kind: 'squashfs', path: resolve(text) }
    : { kind: 'squashfs', path: text, fd: Number(fd) }
}

function splitReference(text: string): ImageSource | undefined {
  for (let colon = text.lastIndexOf(':'); colon > 0; colon = text.lastIndexOf(':', colon - 1)) {
    const directory = text.slice(0, colon)
    if (!statOf(directory)?.isDirectory()) continue
    const tag = text.slice(colon + 1)
    if (!existsSync(join(directory, 'oci-layout'))) throw notALayout(text, directory)
    if (tag === '') throw directoryWithoutTag(directory)
    return { kind: 'oci', ociDir: resolve(directory), tag }
  }
  return undefined
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

function notALayout(text: string, directory: string): FsError {
  return new FsError(
    'EINVAL',
    `source ${quote(text)}: directory ${quote(directory)} exists but is no OCI image layout (it has no file oci-layout)`,
  )
}

function directoryWithoutTag(directory: string): FsError {
  if (!existsSync(join(directory, 'oci-layout'))) {
    return new FsError(
      'EINVAL',
      `source ${quote(directory)} is a directory without oci-layout: give OCIDIR:TAG or a squashfs file`,
    )
  }
  let tags = ''
  try {
    tags = listTags(directory).slice(0, 32).map(quote).join(', ')
  } catch {
    // The layout is damaged as well; that the tag is missing is what the caller must mend first.
  }
  return new FsError(
    'EINVAL',
    `source ${quote(directory)} lacks a tag: give ${directory}:TAG; tags in it: ${tags || 'none'}`,
  )
}

/** @returns undefined where there is nothing. @throws FsError where that cannot be told */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined
    if (code === 'EACCES')
      throw new FsError('EACCES', `source ${quote(path)}: permission denied`, { cause: error })
    throw new FsError('EIO', `source ${quote(path)}: ${code ?? String(error)}`, { cause: error })
  }
}
