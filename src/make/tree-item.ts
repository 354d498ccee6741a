import type { NewEntry } from '../../squashfs/write/index.ts'
import type { Name } from '../base/index.ts'

/** One name of a tree that becomes an image, as `SquashfsWriter` takes it. */
export type TreeItem =
  | { readonly path: Name; readonly entry: NewEntry }
  /** One more name of a file, which may come later. */
  | { readonly path: Name; readonly link: Name }

/** What was left out of an image, counted. */
export interface LeftOut {
  /** Attributes that squashfs has no name space for, such as ACLs. */
  attributes: number
}

/** The name spaces of attributes that squashfs has. ACLs are in none of them. */
export const STORABLE = /^(user|trusted|security)\../
