import type { SquashfsWriter } from '../../../squashfs/write/index.ts'
import { FsError, isDirectory, isSymlink, type Name } from '../../base/index.ts'
import { escapedPath } from '../overlay-form.ts'
import type { LowerLayers } from './lower-layers.ts'

/** What is made of a layer so far. */
type TreeSoFar = Pick<SquashfsWriter, 'modeAt' | 'targetAt'>

/** As in the kernel's path walk. */
const LINKS_MAX = 40
/** Names on the way with those of all links: a path of 4096 bytes has fewer. */
const NAMES_MAX = 2048

/**
 * Where the entries of a layer belong whose path leads through a symbolic link. A layer that has `lib/x` and no `lib`
 * means what is there so far: over a layer below in which `lib` is a link to `usr/lib`, it means `usr/lib/x`, as for those
 * who extract one layer over the other. Links lead nowhere out of the root. The last name of a path is never followed.
 */
export class ParentLinks {
  readonly #writer: TreeSoFar
  readonly #lower: LowerLayers
  readonly #hides: (path: Name) => boolean
  readonly #stored: (path: Name) => Name
  #wentBelow = false

  /**
   * @param hides whether what the layers below have at a path, as it is stored, is not seen through this layer
   * @param stored how a path of the archive is stored
   */
  constructor(
    writer: TreeSoFar,
    lower: LowerLayers,
    hides: (path: Name) => boolean,
    stored: (path: Name) => Name = escapedPath,
  ) {
    this.#writer = writer
    this.#lower = lower
    this.#hides = hides
    this.#stored = stored
  }

  /** Whether a link of the layers below was followed. */
  get wentBelow(): boolean {
    return this.#wentBelow
  }

  /**
   * @param path as in the archive
   * @throws FsError ELOOP for more than 40 links on the way
   */
  resolve(path: Name): Name {
    const end = path.lastIndexOf('/')
    // The usual case: the directory has come.
    if (end < 0 || isDirectory(this.#writer.modeAt(this.#stored(path.slice(0, end))) ?? 0)) return path
    const waiting = path.split('/')
    const found: Name[] = []
    let links = 0
    // Below a directory that is not there, there are no links: a path may have thousands of names.
    let missingFrom = Infinity
    for (let names = 1; waiting.length > 1; names++) {
      const name = waiting.shift() ?? ''
      if (names > NAMES_MAX || links > LINKS_MAX) {
        throw new FsError(
          'ELOOP',
          `${JSON.stringify(path)}: more than ${LINKS_MAX} symbolic links on the way`,
        )
      }
      if (name === '' || name === '.') continue
      if (name === '..') {
        found.pop()
        if (found.length < missingFrom) missingFrom = Infinity
        continue
      }
      found.push(name)
      if (found.length > missingFrom) continue
      const target = this.#targetAt(found.join('/'))
      if (target === 'missing') missingFrom = found.length
      if (typeof target === 'string') continue
      found.pop()
      links += 1
      if (target.path.startsWith('/')) found.length = 0
      waiting.unshift(...target.path.split('/'))
    }
    return [...found, ...waiting].join('/')
  }

  /** Where a symbolic link leads. */
  #targetAt(path: Name): { readonly path: Name } | 'no link' | 'missing' {
    const stored = this.#stored(path)
    const mode = this.#writer.modeAt(stored)
    if (mode !== undefined) return isSymlink(mode) ? linkTo(this.#writer.targetAt(stored)) : 'no link'
    if (this.#hides(stored)) return 'missing'
    const entry = this.#lower.entry(stored)
    if (entry?.target !== undefined) this.#wentBelow = true
    return entry === undefined ? 'missing' : linkTo(entry.target)
  }
}

function linkTo(target: Uint8Array | undefined): { readonly path: Name } | 'no link' {
  return target === undefined ? 'no link' : { path: Buffer.from(target).toString('latin1') }
}
