import {
  decodePath,
  type Entry,
  FsError,
  isDirectory,
  isSymlink,
  type PathText,
  type Stat,
} from '../base/index.ts'
import { findEntry } from './find.ts'
import type { Listed } from './listing.ts'
import { sortedListing } from './sorted-listing.ts'
import type { Contents } from './source-contents.ts'
import { refusalOf, textOf } from './texts.ts'

/** One name of a listing. */
export interface ListedFile {
  /** From the root of the image, with a slash before it. */
  readonly path: PathText
  readonly stat: Stat
  /** Of a symbolic link. */
  readonly target?: PathText
}

/** What was listed, or could not be. */
export type ListedItem = ListedFile | { readonly path: PathText; readonly error: FsError }

/** Which part of a tree is listed. */
export interface ListRequest {
  /** Links before its last name are followed, inside of the image. */
  readonly path: PathText
  readonly recursive: boolean
}

/**
 * Lists a directory, in byte order of its names, or the one file of the path. What is damaged is named, and the others are
 * listed.
 * @throws FsError ENOENT, ENOTDIR, ELOOP for the path
 */
export function* listContents(contents: Contents, { path, recursive }: ListRequest): Generator<ListedItem> {
  const { fileSystem } = contents
  const entry = findEntry(contents, path, false)
  const start = `/${path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')}`
  if (!isDirectory(entry.stat.mode)) {
    yield describe(contents, start, entry)
    return
  }
  const prefix = start === '/' ? '/' : `${start}/`
  // Deep trees have more levels than a stack of calls.
  const open = [{ node: entry.nodeId, prefix, listing: sortedListing(fileSystem, entry.nodeId) }]
  for (let level = open.at(-1); level !== undefined; level = open.at(-1)) {
    const next = nextOf(level.listing)
    if (next === undefined || next instanceof FsError) {
      if (next !== undefined) yield { path: level.prefix, error: next }
      open.pop()
      if (open.length > 0) fileSystem.forget(level.node, 1)
      continue
    }
    const shown = level.prefix + textOf(next.name)
    if ('error' in next) {
      yield { path: shown, error: next.error }
      continue
    }
    yield describe(contents, shown, next.entry)
    const { nodeId, stat } = next.entry
    const isEntered = recursive && isDirectory(stat.mode)
    const refusal = isEntered ? refusalOf(shown) : undefined
    if (refusal !== undefined) yield { path: shown, error: refusal }
    if (isEntered && refusal === undefined) {
      open.push({ node: nodeId, prefix: `${shown}/`, listing: sortedListing(fileSystem, nodeId) })
    } else fileSystem.forget(nodeId, 1)
  }
}

/** @returns undefined at the end; why a damaged directory cannot be listed further */
function nextOf(listing: Iterator<Listed>): Listed | FsError | undefined {
  try {
    const { done, value } = listing.next()
    return done === true ? undefined : value
  } catch (error) {
    if (error instanceof FsError) return error
    throw error
  }
}

function describe({ fileSystem }: Contents, path: PathText, { nodeId, stat }: Entry): ListedItem {
  if (!isSymlink(stat.mode)) return { path, stat }
  try {
    return { path, stat, target: decodePath(fileSystem.readlink(nodeId)) }
  } catch (error) {
    if (error instanceof FsError) return { path, error }
    throw error
  }
}
