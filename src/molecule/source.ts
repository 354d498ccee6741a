import { type Stats, statSync } from 'node:fs'
import {
  type Container,
  codeOf,
  complaintOf,
  FsError,
  type ImageFile,
  type NamedSource,
  type PartChoice,
  type PathText,
  systemPath,
  UsageError,
  unlessFailed,
} from '../base/index.ts'
import { containerNamed, containersAt, knownContainers } from '../kinds/containers.ts'
import { looksLikeDigest, quote } from '../oci/digest.ts'
import { descriptorOf } from '../sys/plain/proc.ts'
import { imageOfLower } from './images/lower-images.ts'

/** What is to be mounted: what SOURCE names, or an overlay. */
export type MountSource = NamedSource | DirectoriesSource

/** Directories and images to merge, with the rules of overlayfs. */
export interface DirectoriesSource {
  /** Absolute, the topmost first. */
  readonly lowers: readonly PathText[]
  /** Directories that were renamed in an overlay are continued where their redirects lead. */
  readonly followsRedirects: boolean
  /** None of them is an image: whoever asks has looked. */
  readonly areDirectories?: true
}

/** What lies at a path, for a caller that knows which container it is. @param name `Container.name`. @throws FsError EINVAL */
export function sourceOfContainer(name: string, path: PathText): NamedSource {
  const source = containerNamed(name).read(path, undefined)
  if (source === undefined) throw new FsError('EINVAL', `${path}: is not ${containerNamed(name).title}`)
  return source
}

/** Whether a source is an overlay, which no container holds. */
export function isOverlay(source: MountSource): source is DirectoriesSource {
  return 'lowers' in source
}

/** As a user would write it, for messages. */
export function describeSource(source: NamedSource): PathText {
  return containerNamed(source.container).describe(source)
}

/** What the image of a source says of its program; undefined where nothing can say it. @throws FsError as `readImage` */
export function imageConfig(source: NamedSource): Readonly<Record<string, unknown>> | undefined {
  return containerNamed(source.container).config?.(source)
}

/** The encrypted images that a source leads to. Where it cannot be read there are none: whoever opens it says why. */
export function lockedImages(source: MountSource): readonly ImageFile[] {
  const sources = isOverlay(source) ? source.lowers.flatMap(imageBelow) : [source]
  return sources.flatMap((one) => unlessFailed(() => lockedIn(one)) ?? [])
}

/** The image that a lower directory is; none where that is a directory, or cannot be read. */
function imageBelow(path: PathText): readonly NamedSource[] {
  const source = unlessFailed(() => {
    const image = imageOfLower(path)
    return image === undefined ? undefined : parseSource(image)
  })
  return source === undefined ? [] : [source]
}

/** The encrypted images in a container. @throws FsError where it cannot be read */
export function lockedIn(source: NamedSource): readonly ImageFile[] {
  return containerNamed(source.container).locked?.(source) ?? []
}

/** Whether something may have to be made of the layers of a source. Where it cannot be read: no. */
export function mayHoldArchives(source: NamedSource): boolean {
  return unlessFailed(() => containerNamed(source.container).mayHoldArchives?.(source)) ?? false
}

/** @param offset byte position of the image in its file. @throws UsageError for what is no file */
export function withOffset(source: NamedSource, offset: number | undefined): NamedSource {
  return offset === undefined ? source : containerNamed(source.container).atOffset(source, offset)
}

/** @throws UsageError for a choice that its container does not have */
export function withParts(source: NamedSource, choice: PartChoice): NamedSource {
  if (choice.partition === undefined && choice.overlays === undefined) return source
  const container = containerNamed(source.container)
  if (container.withParts !== undefined) return container.withParts(source, choice)
  const option = choice.partition === undefined ? 'overlays=' : 'partition='
  throw new UsageError(`${option} is for a SIF file, and ${describeSource(source)} is ${container.title}`)
}

/**
 * Reads SOURCE: the path of a container, and behind it what the container understands, such as `OCIDIR:TAG`,
 * `OCIDIR@DIGEST` (also `OCIDIR:DIGEST`) or `OCIDIR` alone. Path and tag may contain colons themselves: the last colon
 * behind an existing path separates them.
 * @throws FsError ENOENT or EINVAL, saying what was tried.
 */
export function parseSource(text: string): NamedSource {
  if (text === '') throw new FsError('EINVAL', `the source is empty: give ${wanted()}`)
  try {
    return readText(text)
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    throw new FsError(error.code, `source ${quote(text)}: ${error.message}`, { cause: error.cause })
  }
}

/** @param source as `parseSource` takes it, or parsed. @returns it, and what the user calls it */
export function namedSource(source: string | NamedSource): [source: NamedSource, name: PathText] {
  if (typeof source === 'string') return [parseSource(source), source]
  // A program in JavaScript may give anything.
  if (typeof source !== 'object' || source === null) {
    throw new UsageError(complaintOf('the source', source) ?? 'no source')
  }
  return [source, describeSource(source)]
}

function readText(text: string): NamedSource {
  if (text.includes('\0')) throw new FsError('EINVAL', 'contains a NUL character')
  const stats = statOf(text)
  // A file may have any name, also one that begins with the prefix of a container.
  if (stats !== undefined && !stats.isDirectory()) return readFile(text, stats)
  if (stats === undefined && descriptorOf(text) !== undefined) {
    throw new FsError('ENOENT', 'no such open file descriptor')
  }
  const meant = knownContainers().find(({ prefix }) => prefix !== undefined && text.startsWith(prefix))
  const parts = text.slice(meant?.prefix?.length ?? 0)
  // A directory whose name begins with the prefix is the second reading.
  const source = (meant && readParts(parts, meant)) ?? readParts(text)
  if (source === undefined) throw meant?.onlyByPrefix === true ? noFile(parts, meant) : notFound(parts)
  return source
}

function readFile(path: string, stats: Stats): NamedSource {
  for (const container of containersAt(path, stats)) {
    const source = container.read(path, undefined)
    if (source !== undefined) return source
  }
  throw new FsError('EINVAL', 'neither a regular file nor a block device')
}

/** @param meant the container whose prefix stood before the text */
function readParts(text: string, meant?: Container): NamedSource | undefined {
  for (const [path, rest] of splits(text)) {
    const stats = statOf(path)
    if (stats === undefined) continue
    for (const container of meant === undefined ? containersAt(path, stats) : [meant]) {
      const source = container.claims(path, stats) ? container.read(path, rest) : undefined
      if (source !== undefined) return source
    }
    if (meant !== undefined && stats.isDirectory()) {
      throw new FsError('EINVAL', `directory ${quote(path)} exists but is not ${meant.title}`)
    }
  }
  return undefined
}

/** The ways to read a text as a path and what is in it, the longest path first. */
function* splits(text: string): Generator<readonly [path: string, rest: string | undefined]> {
  yield [text, undefined]
  const at = text.lastIndexOf('@')
  if (at > 0 && looksLikeDigest(text.slice(at + 1))) yield [text.slice(0, at), text.slice(at + 1)]
  for (let colon = text.lastIndexOf(':'); colon > 0; colon = text.lastIndexOf(':', colon - 1)) {
    yield [text.slice(0, colon), text.slice(colon + 1)]
  }
}

function noFile(text: string, { title, form }: Container): FsError {
  return new FsError('ENOENT', `${quote(text)}: no such file that could be ${title} (${form})`)
}

function notFound(text: string): FsError {
  const form = forms().join(' or ')
  const colon = text.lastIndexOf(':')
  if (colon <= 0) return new FsError('ENOENT', `no such file or directory, and it is not ${form} either`)
  const path = text.slice(0, colon)
  const what = statOf(path) === undefined ? 'no such directory' : 'not a directory'
  return new FsError('ENOENT', `no such file or directory, and as ${form} ${quote(path)} is ${what}`)
}

/** What may be given as SOURCE. */
function wanted(): string {
  return [...forms(), 'a squashfs file or a directory'].join(', ')
}

/** How one of several images is named, in all containers that have several and are known by their content. */
function forms(): readonly string[] {
  const byContent = knownContainers().filter(({ onlyByPrefix }) => onlyByPrefix !== true)
  return [...new Set(byContent.flatMap(({ form }) => form ?? []))]
}

/** @returns undefined where there is nothing. @throws FsError where that cannot be told */
function statOf(path: PathText): Stats | undefined {
  try {
    return statSync(systemPath(path))
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined
    if (code === 'EACCES') throw new FsError('EACCES', 'permission denied', { cause: error })
    throw new FsError('EIO', code ?? String(error), { cause: error })
  }
}
