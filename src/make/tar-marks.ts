import type { Attribute } from '../../squashfs/write/index.ts'
import type { TarEntry } from '../../tar/index.ts'
import { FsError, isDirectory, type Name, S_IFCHR } from '../base/index.ts'
import { escapedPath } from './overlay-form.ts'
import type { TreeItem } from './tree-item.ts'

const PREFIX = '.wh.'
const OPAQUE = '.wh..wh..opq'
/** What AUFS keeps for itself: never part of a tree. */
const AUFS = /^\.wh\.\.wh\./

/** Bytes of all paths of marks: they are held until the archive ends. */
const PATHS_MAX = 256 << 20

/** The value is "y". */
export const OPAQUE_MARK: Attribute = ['user.overlay.opaque', Uint8Array.of(0x79)]

/**
 * The whiteouts and opaque marks of one layer in an archive. They are about the layers below, wherever they stand in the
 * archive (image-spec, layer.md, "Whiteouts"): so they are collected, and become items when all entries have come.
 */
export class TarMarks {
  readonly #modeAt: (path: Name) => number | undefined
  /** Times of deletions by the deleted paths. */
  readonly #whiteouts = new Map<Name, number>()
  readonly #opaque = new Set<Name>()
  readonly #most: number
  #bytes = 0
  /** What `covers` has said last, as long as no mark has come since. */
  #last: { readonly path: Name; readonly isCovered: boolean } | undefined

  /**
   * @param modeAt type of what the layer has at a path
   * @param most bytes of all paths
   */
  constructor(modeAt: (path: Name) => number | undefined, most = PATHS_MAX) {
    this.#modeAt = modeAt
    this.#most = most
  }

  /**
   * Takes an entry if it is a mark; its type does not matter: some archives have whiteouts that are hard links.
   * @returns whether it is one
   * @throws FsError EINVAL for a whiteout of no name, and for what lies below one; EFBIG
   */
  take({ path, mtime }: Pick<TarEntry, 'path' | 'mtime'>): boolean {
    const mark = markOf(path)
    if (mark === undefined) return false
    if (mark.kind === 'opaque') {
      const folder = escapedPath(mark.path)
      this.#count(folder)
      this.#opaque.add(folder)
    } else if (mark.kind === 'whiteout') this.hide(escapedPath(mark.path), mtime)
    return true
  }

  /** Deletes a path of the layers below. @param path as it is stored. @throws FsError EFBIG */
  hide(path: Name, mtime: number): void {
    this.#count(path)
    this.#whiteouts.set(path, mtime)
  }

  #count(path: Name): void {
    this.#last = undefined
    this.#bytes += path.length
    if (this.#bytes <= this.#most) return
    throw new FsError('EFBIG', `the layer deletes too much: paths of more than ${this.#most} bytes in all`)
  }

  isOpaque(path: Name): boolean {
    return this.#opaque.has(path)
  }

  /** Whether nothing at this path of the layers below is seen through a directory of this layer. */
  covers(path: Name): boolean {
    if (path === '') return false
    const isCovered = this.#whiteouts.has(path) || this.#hides(parentOf(path))
    this.#last = { path, isCovered }
    return isCovered
  }

  /** Whether nothing of the layers below is seen in a directory. Those who go down a path have just asked for it. */
  #hides(folder: Name): boolean {
    if (this.#opaque.has(folder)) return true
    if (folder === '') return false
    if (this.#last?.path === folder) return this.#last.isCovered
    if (this.#whiteouts.has(folder) || this.#opaque.has('')) return true
    return parentsOf(folder).some((parent) => this.#whiteouts.has(parent) || this.#opaque.has(parent))
  }

  /**
   * What the marks become: character devices 0:0, and attributes of directories.
   * @param typeBelow of what the layers below have at a path, asked where a mark would make directories that the layer does
   *   not have: over nothing there is nothing to delete, and nothing is made. Absent: not known
   */
  *items(typeBelow?: (path: Name) => number | undefined): Generator<TreeItem> {
    const isOverNothing = (path: Name, isMeant: (type: number) => boolean): boolean => {
      if (typeBelow === undefined || this.#modeAt(path) !== undefined) return false
      const type = typeBelow(path)
      return type === undefined || !isMeant(type)
    }
    for (const [path, mtime] of this.#whiteouts) {
      const mode = this.#modeAt(path)
      if (isOverNothing(parentOf(path), isDirectory)) continue
      // What the layer has itself at the path covers the layers below, except that directories are merged.
      if (mode !== undefined && isDirectory(mode)) this.#opaque.add(path)
      else if (mode === undefined && this.#canStand(path)) {
        yield { path, entry: { mode: S_IFCHR, uid: 0, gid: 0, mtime, rdev: 0 } }
      }
    }
    for (const path of this.#opaque) {
      if (isOverNothing(path, () => true)) continue
      const isFile = !isDirectory(this.#modeAt(path) ?? 0) && this.#modeAt(path) !== undefined
      if (!isFile && this.#canStand(path)) yield { path, attribute: OPAQUE_MARK }
    }
  }

  /**
   * Where the layer has a file in place of a directory above, nothing below it is needed. Of the directories above some
   * are there, and none below the first that is not: a path may have thousands, so not each is asked for.
   */
  #canStand(path: Name): boolean {
    const parents = parentsOf(path)
    let deepest: number | undefined
    for (let [from, to] = [0, parents.length]; from < to; ) {
      const middle = (from + to) >>> 1
      const mode = this.#modeAt(parents[middle] ?? '')
      if (mode === undefined) to = middle
      else {
        deepest = mode
        from = middle + 1
      }
    }
    return deepest === undefined || isDirectory(deepest)
  }
}

function parentOf(path: Name): Name {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0))
}

/** The directories above a path, without the root. */
function parentsOf(path: Name): Name[] {
  const parents: Name[] = []
  for (let end = path.indexOf('/'); end > 0; end = path.indexOf('/', end + 1))
    parents.push(path.slice(0, end))
  return parents
}

/** What a name that begins with `.wh.` says, and of which path. `own`: what AUFS keeps for itself. */
export interface Mark {
  readonly kind: 'whiteout' | 'opaque' | 'own'
  readonly path: Name
}

/** @throws FsError EINVAL for a whiteout of no name, and for what lies below one */
export function markOf(path: Name): Mark | undefined {
  if (!path.includes(PREFIX)) return undefined
  const name = path.slice(path.lastIndexOf('/') + 1)
  const folder = path.slice(0, Math.max(path.length - name.length - 1, 0))
  if (folder.split('/').some((part) => part.startsWith(PREFIX))) {
    throw new FsError('EINVAL', `${JSON.stringify(path)}: something lies below a whiteout`)
  }
  if (!name.startsWith(PREFIX)) return undefined
  if (name === OPAQUE) return { kind: 'opaque', path: folder }
  if (AUFS.test(name)) return { kind: 'own', path }
  return { kind: 'whiteout', path: hiddenPath(folder, name, path) }
}

/** The name of the mark that deletes a path. */
export function whiteoutName(path: Name): Name {
  return path.replace(/[^/]*$/, (name) => PREFIX + name)
}

/** The name of the mark in a directory that hides what the layers below have in it. */
export function opaqueName(directory: Name): Name {
  return directory === '' ? OPAQUE : `${directory}/${OPAQUE}`
}

/** The directory that a path marks as opaque; undefined for any other path. */
export function opaqueDirectory(path: Name): Name | undefined {
  if (path !== OPAQUE && !path.endsWith(`/${OPAQUE}`)) return undefined
  return path.slice(0, Math.max(path.length - OPAQUE.length - 1, 0))
}

function hiddenPath(folder: Name, name: Name, path: Name): Name {
  const hidden = name.slice(PREFIX.length)
  if (hidden === '' || hidden === '.' || hidden === '..') {
    throw new FsError('EINVAL', `${JSON.stringify(path)}: a whiteout of no name`)
  }
  return folder === '' ? hidden : `${folder}/${hidden}`
}
