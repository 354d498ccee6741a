import type { Attribute, NewEntry } from '../../squashfs/write/index.ts'
import type { TarEntry, TarOddities } from '../../tar/index.ts'
import type { Name } from '../base/index.ts'

/** One name of a tree that becomes an image, as `SquashfsWriter` takes it. */
export type TreeItem =
  | { readonly path: Name; readonly entry: TreeEntry }
  /** One more name of a file, which may come later. */
  | { readonly path: Name; readonly link: Name }
  /** One more attribute of a directory, which is made if it has not come. */
  | { readonly path: Name; readonly attribute: Attribute }

/** With more than an image of squashfs needs, for directories. */
export interface TreeEntry extends NewEntry {
  /** Exact, where it is known. */
  readonly time?: TarEntry['time']
  /** In place of `content`, for files with holes. */
  readonly placed?: TarEntry['placed']
}

export type TreeItems = Iterable<TreeItem> | AsyncIterable<TreeItem>

/** What was left out of an image, and what of an archive was odd, counted. */
export interface LeftOut extends TarOddities {
  /** Attributes that squashfs has no name space for, such as ACLs. */
  attributes: number
  /** Character devices 0:0 in the archive of a layer: a mount shows none. */
  devices: number
}

/** Nothing yet. */
export function nothingLeftOut(): LeftOut {
  return { attributes: 0, devices: 0, missingEnds: 0, bytesBehindEnd: 0 }
}

/** The name spaces of attributes that squashfs has. ACLs are in none of them. */
export const STORABLE = /^(user|trusted|security)\../

/** Bytes of all files among some items, those with several names once. */
export function sizeOfItems(items: Iterable<TreeItem>): number {
  let size = 0
  for (const item of items) if ('entry' in item) size += item.entry.size ?? 0
  return size
}
