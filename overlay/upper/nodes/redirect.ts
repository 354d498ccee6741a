import { DT_DIR, FsError, type Name } from '../../../src/base/index.ts'
import { setxattrFd } from '../../../src/sys/files/xattr.ts'
import { Directory, type Stack } from '../../merge/directory.ts'
import { REDIRECT_ATTRIBUTES, redirectNames } from '../../merge/redirects.ts'
import type { UpperPolicy } from '../../stored/policy.ts'
import type { DirectoryNode } from './nodes.ts'

/** Longest value, bytes: what overlayfs follows by default (overlayfs.rst, `redirect_max`). */
const REDIRECT_MAX = 256

/**
 * The place of the lower part of an upper directory: an absolute path from the root of the layers, or another name in
 * the lower part of its parent (overlayfs.rst, "redirect_dir").
 * @throws FsError EINVAL for a value that is neither
 */
export function readRedirect(get: (name: Name) => Uint8Array | undefined): Name | undefined {
  for (const name of REDIRECT_ATTRIBUTES) {
    const value = get(name)
    if (value === undefined) continue
    const redirect = Buffer.from(value).toString('latin1')
    if (redirectNames(redirect) !== undefined) return redirect
    throw new FsError('EINVAL', `${name}: ${JSON.stringify(redirect)} is neither a path nor a name`)
  }
  return undefined
}

/**
 * @param root of the layers
 * @param siblings lower part of the parent of the redirected directory
 * @returns undefined where no directory lies there, as with overlayfs.
 * @throws FsError EIO
 */
export function followRedirect(
  stack: Stack,
  root: Directory | undefined,
  siblings: Directory | undefined,
  redirect: Name,
): Directory | undefined {
  let directory = redirect.startsWith('/') ? root : siblings
  for (const name of redirect.split('/')) {
    if (name === '') continue
    const found = directory?.lookup(name)
    if (found?.entry.type !== DT_DIR) return undefined
    directory = found.merged ?? new Directory(stack, [found.top])
  }
  return directory
}

/**
 * The redirect that a directory needs before its rename to keep its lower part.
 * @param samePlace it stays in its parent, so a name is enough
 * @throws FsError EXDEV where the path is too long: the user's program then copies, as between file systems
 */
export function redirectFor(node: DirectoryNode, samePlace: boolean): Name {
  const { redirect, place } = node
  if (redirect !== undefined && (samePlace || redirect.startsWith('/'))) return redirect
  if (place === undefined) throw new FsError('ESTALE', 'redirect: directory without a name')
  const value = samePlace ? place.name : lowerPath(node)
  if (value.length <= REDIRECT_MAX) return value
  throw new FsError('EXDEV', `redirect of ${value.length} bytes, at most ${REDIRECT_MAX} are followed`)
}

/** Path of the lower part of a directory from the root of the layers. */
function lowerPath(node: DirectoryNode): Name {
  const names: Name[] = []
  for (let at = node; at.place !== undefined; at = at.place.parent) {
    if (at.redirect?.startsWith('/')) {
      names.push(at.redirect.slice(1))
      break
    }
    names.push(at.redirect ?? at.place.name)
  }
  return `/${names.reverse().join('/')}`
}

/** @throws FsError EXDEV where the upper cannot have attributes; ENOSPC, EDQUOT */
export function writeRedirect(fd: number, value: Name, policy: UpperPolicy): void {
  if (!policy.xattrs) throw new FsError('EXDEV', 'redirect: the upper has no attributes')
  setxattrFd(fd, `${policy.markers}.overlay.redirect`, Buffer.from(value, 'latin1'), 'either')
}
