import { lstatSync, type Stats, statSync } from 'node:fs'
import Module from 'node:module'
import { dirname } from 'node:path'
import { isTrustedOwner } from './owner.ts'

/** Undocumented part of `node:module`: the folders that `require` searches for a package, best first. */
interface Resolver {
  _resolveLookupPaths(request: string, parent: { readonly paths?: readonly string[] } | null): string[] | null
}

/**
 * Makes Node find packages only in a `node_modules` above the importing file, and only where no other user could have
 * put them. npm hoists packages to the folder of the user who installs, so those folders are searched, but not another
 * user's `/tmp/node_modules` for a program below /tmp. NODE_PATH and folders in HOME are not searched. For programs
 * only: a user of the library decides on this.
 */
export function searchSafeFoldersOnly(): void {
  const resolver = Module as unknown as Resolver
  const original = resolver._resolveLookupPaths
  resolver._resolveLookupPaths = (request, parent) => {
    const folders = original.call(Module, request, parent)
    const isPath = request.startsWith('.') || request.startsWith('/')
    if (folders === null || isPath) return folders
    return folders.filter((folder) => parent?.paths?.includes(folder) === true && isSafeFolder(folder))
  }
}

/**
 * True where the content of a folder can only come from root, from this user, or from a group of this user. A missing
 * folder is safe where no other user can make it.
 */
export function isSafeFolder(folder: string): boolean {
  const parent = statOf(() => statSync(dirname(folder)))
  if (parent === undefined) return true
  const isOpen = (parent.mode & OTHERS_WRITE) !== 0
  const itself = statOf(() => lstatSync(folder))
  if (itself === undefined) return isTrustedOwner(parent.uid) && !isOpen
  const content = itself.isSymbolicLink() ? statOf(() => statSync(folder)) : itself
  // In a sticky folder only its owner can replace files of other users (unlink(2), EPERM).
  const stays = isTrustedOwner(parent.uid) && (!isOpen || (parent.mode & STICKY) !== 0)
  return (
    stays &&
    isTrustedOwner(itself.uid) &&
    content !== undefined &&
    isTrustedOwner(content.uid) &&
    !(content.mode & OTHERS_WRITE)
  )
}

const OTHERS_WRITE = 0o002
const STICKY = 0o1000

function statOf(look: () => Stats): Stats | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
