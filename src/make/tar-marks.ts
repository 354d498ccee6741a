import type { Attribute } from '../../squashfs/write/index.ts'
import type { TarEntry } from '../../tar/index.ts'
import { FsError, isDirectory, type Name, S_IFCHR } from '../base/index.ts'
import { escapedPath } from './overlay-form.ts'
import type { TreeItem } from './tree-item.ts'

const PREFIX = '.wh.'
const OPAQUE = '.wh..wh..opq'
/** What AUFS keeps for itself: never part of a tree. */
const AUFS = /^\.wh\.\.wh\./

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

  /** @param modeAt type of what the layer has at a path */
  constructor(modeAt: (path: Name) => number | undefined) {
    this.#modeAt = modeAt
  }

  /**
   * Takes an entry if it is a mark; its type does not matter: some archives have whiteouts that are hard links.
   * @returns whether it is one
   * @throws FsError EINVAL for a whiteout of no name, and for what lies below one
   */
  take({ path, mtime }: Pick<TarEntry, 'path' | 'mtime'>): boolean {
    const mark = markOf(path)
    if (mark === undefined) return false
    if (mark.kind === 'opaque') this.#opaque.add(escapedPath(mark.path))
    else if (mark.kind === 'whiteout') this.hide(escapedPath(mark.path), mtime)
    return true
  }

  /** Deletes a path of the layers below. @param path as it is stored */
  hide(path: Name, mtime: number): void {
    this.#whiteouts.set(path, mtime)
  }

  isOpaque(path: Name): boolean {
    return this.#opaque.has(path)
  }

  /** Whether nothing at this path of the layers below is seen through a directory of this layer. */
  covers(path: Name): boolean {
    if (this.#whiteouts.has(path)) return true
    return parentsOf(path).some((parent) => this.#whiteouts.has(parent) || this.#opaque.has(parent))
  }

  /** What the marks become: character devices 0:0, and attributes of directories. */
  *items(): Generator<TreeItem> {
    for (const [path, mtime] of this.#whiteouts) {
      const mode = this.#modeAt(path)
      // What the layer has itself at the path covers the layers below, except that directories are merged.
      if (mode !== undefined && isDirectory(mode)) this.#opaque.add(path)
      else if (mode === undefined && this.#canStand(path)) {
        yield { path, entry: { mode: S_IFCHR, uid: 0, gid: 0, mtime, rdev: 0 } }
      }
    }
    for (const path of this.#opaque) {
      const isFile = !isDirectory(this.#modeAt(path) ?? 0) && this.#modeAt(path) !== undefined
      if (!isFile && this.#canStand(path)) yield { path, attribute: OPAQUE_MARK }
    }
  }

  /** Where the layer has a file in place of a directory above, nothing below it is needed. */
  #canStand(path: Name): boolean {
    return parentsOf(path).every((parent) => {
      const mode = this.#modeAt(parent)
      return mode === undefined || isDirectory(mode)
    })
  }
}

/** The directories above a path, without the root. */
function parentsOf(path: Name): Name[] {
  const names = path.split('/')
  return names.slice(1).map((_, i) => names.slice(0, i + 1).join('/'))
}

/** What a name that begins with `.wh.` says, and of which path. `own`: what AUFS keeps for itself. */
interface Mark {
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

function hiddenPath(folder: Name, name: Name, path: Name): Name {
  const hidden = name.slice(PREFIX.length)
  if (hidden === '' || hidden === '.' || hidden === '..') {
    throw new FsError('EINVAL', `${JSON.stringify(path)}: a whiteout of no name`)
  }
  return folder === '' ? hidden : `${folder}/${hidden}`
}
