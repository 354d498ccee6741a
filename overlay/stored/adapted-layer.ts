import type {
  AttributeKinds,
  ExtentSink,
  FlagsForm,
  LayerMarks,
  Name,
  Stat,
  StatFs,
  Whence,
} from '../../src/base/index.ts'
import { type Spelling, spellingOf } from './file-names.ts'
import {
  type DirectoryCursor,
  type InodeSource,
  type Layer,
  type LayerEntry,
  layerFlags,
  type Ref,
} from './layer-flags.ts'
import { MappedCursor } from './mapped-cursor.ts'
import { SortedListings } from './sorted-listings.ts'
import { escapedName, unescapedName } from './xattr-names.ts'

/**
 * The overlay has one language: names and attributes as an upper stores them, in byte order. A layer that speaks another
 * one, because its marks are data or its directories are not sorted, is translated here. Names and attributes that would
 * be marks get the escape under which an upper stores them (docs/adr/0020-marks-and-names.md), so that all rules of the
 * merge hold for every layer, and the name that is shown is the one that the layer has.
 * Devices 0:0 have no escape: `isWhiteout` asks `marks`.
 */
export function adapted(layer: Layer, marks: LayerMarks = layer.marks): Layer {
  if (layer instanceof AdaptedLayer) return layer
  if (marks.names && marks.attributes && marks.devices && layer.sorted !== false) return layer
  return new AdaptedLayer(layer, marks)
}

class AdaptedLayer implements Layer {
  readonly label: string
  readonly root: Ref
  readonly refSpan: number
  readonly inodes: InodeSource
  readonly marks: LayerMarks
  readonly attributes: AttributeKinds
  readonly hasBirthTimes: boolean
  readonly followsRedirects: boolean
  readonly #layer: Layer
  readonly #spelling: Spelling | undefined
  readonly #respell: ((entry: LayerEntry) => LayerEntry) | undefined
  readonly #listings: SortedListings

  constructor(layer: Layer, marks: LayerMarks) {
    this.label = layer.label
    this.root = layer.root
    this.refSpan = layer.refSpan
    this.inodes = layer.inodes
    this.marks = marks
    this.attributes = layer.attributes
    this.hasBirthTimes = layer.hasBirthTimes === true
    this.followsRedirects = marks.attributes && (layer.followsRedirects ?? false)
    this.#layer = layer
    this.#spelling = spellingOf(marks)
    this.#respell = this.#spelling && respelling(this.#spelling)
    this.#listings = new SortedListings(layer, (directory) => this.openUnordered(directory, 0))
  }

  isImplied(ref: Ref): boolean {
    return this.#layer.isImplied?.(ref) === true
  }

  pathBelow(ref: Ref): Name | undefined {
    return this.#layer.pathBelow?.(ref)
  }

  stat(ref: Ref): Stat {
    return this.#layer.stat(ref)
  }

  lookup(directory: Ref, name: Name): LayerEntry | undefined {
    const spelling = this.#spelling
    if (spelling === undefined) return this.#layer.lookup(directory, name)
    const own = spelling.own(name)
    const entry = own === undefined ? undefined : this.#layer.lookup(directory, own)
    return entry === undefined || own === name ? entry : { ...entry, name }
  }

  openDirectory(directory: Ref, position: number): DirectoryCursor {
    if (this.#isSorted(directory)) return this.#layer.openDirectory(directory, position)
    return this.#listings.open(directory, position)
  }

  openUnordered(directory: Ref, position: number): DirectoryCursor {
    const { openUnordered } = this.#layer
    const cursor =
      openUnordered?.call(this.#layer, directory, position) ?? this.#layer.openDirectory(directory, position)
    return this.#respell === undefined ? cursor : new MappedCursor(cursor, this.#respell)
  }

  openDirectoryAt(directory: Ref, name: Name): DirectoryCursor {
    if (this.#isSorted(directory)) return this.#layer.openDirectoryAt(directory, name)
    return this.#listings.openAt(directory, name)
  }

  readlink(ref: Ref): Uint8Array {
    return this.#layer.readlink(ref)
  }

  attributeNames(): ReadonlySet<Name> | undefined {
    const names = this.#layer.attributeNames?.()
    return this.marks.attributes ? names : names && new Set([...names].map(escapedName))
  }

  listxattr(ref: Ref): readonly Name[] {
    const names = this.#layer.listxattr(ref)
    return this.marks.attributes || names.length === 0 ? names : names.map(escapedName)
  }

  getxattr(ref: Ref, name: Name): Uint8Array | undefined {
    if (this.marks.attributes) return this.#layer.getxattr(ref, name)
    const own = unescapedName(name)
    return own === undefined ? undefined : this.#layer.getxattr(ref, own)
  }

  extents(ref: Ref, offset: number, length: number, sink: ExtentSink): void {
    this.#layer.extents(ref, offset, length, sink)
  }

  seek(ref: Ref, offset: number, whence: Whence): number {
    return this.#layer.seek(ref, offset, whence)
  }

  statfs(): StatFs {
    return this.#layer.statfs()
  }

  inodeFlags(ref: Ref, form: FlagsForm): Uint8Array {
    return layerFlags(this.#layer, ref, form)
  }

  generation(ref: Ref): number | undefined {
    return this.#layer.generation?.(ref)
  }

  following(ref: Ref): Ref | undefined {
    return this.#layer.following?.(ref)
  }

  /** An escape moves a name to another place in the order: where there is one, the directory is sorted anew. */
  #isSorted(directory: Ref): boolean {
    if (this.#layer.sorted === false) return false
    const spelling = this.#spelling
    if (spelling === undefined) return true
    return spelling.prefixes.every((prefix) => {
      const names = this.#layer.openDirectoryAt(directory, prefix)
      for (let entry = names.next(); entry?.name.startsWith(prefix); entry = names.next()) {
        if (spelling.stored(entry.name) !== entry.name) return false
      }
      return true
    })
  }
}

/** @returns the entry under the name that an upper would give it */
function respelling({ stored }: Spelling): (entry: LayerEntry) => LayerEntry {
  return (entry) => {
    const name = stored(entry.name)
    return name === entry.name ? entry : { ...entry, name }
  }
}
