import { closeSync, constants, readFileSync } from 'node:fs'
import { decodeOwner, USER_RECORD } from '../../../overlay/records.ts'
import { isErrno, isRegular, isSymlink, type Name, S_IFDIR } from '../../base/index.ts'
import type { Owners } from '../../contents/index.ts'
import { openAt, readlinkAt } from '../../sys/files/at.ts'
import { statAt } from '../../sys/files/statx.ts'
import { getxattrFd } from '../../sys/files/xattr.ts'
import type { Descent } from './descent.ts'
import type { Place } from './place.ts'

/** Type of what a tree has at a path; undefined where there is nothing. */
export function modeAt(tree: Descent, path: Name, owners: Owners): number | undefined {
  if (path === '') return S_IFDIR
  const place = placeAt(tree, path)
  const stat = place && statAt(place.folder, place.name)
  if (place === undefined || stat === undefined) return undefined
  return owners === 'override' && isRegular(stat.mode) ? recordedMode(place, stat.mode) : stat.mode
}

/** Target of the symbolic link that a tree has at a path; undefined for anything else. */
export function targetAt(tree: Descent, path: Name): Uint8Array | undefined {
  const place = path === '' ? undefined : placeAt(tree, path)
  const stat = place && statAt(place.folder, place.name)
  if (place === undefined || stat === undefined) return undefined
  if (isSymlink(stat.mode)) return readlinkAt(place.folder, place.name)
  // Where owners are written down, a link is a file, and its target the content.
  if (!isRegular(stat.mode) || !isSymlink(recordedMode(place, stat.mode))) return undefined
  const fd = openAt(place.folder, place.name, constants.O_RDONLY)
  try {
    return readFileSync(fd)
  } finally {
    closeSync(fd)
  }
}

function recordedMode({ folder, name }: Place, mode: number): number {
  const fd = openAt(folder, name, constants.O_RDONLY)
  try {
    const record = getxattrFd(fd, USER_RECORD)
    return record === undefined ? mode : decodeOwner(record, mode).mode
  } finally {
    closeSync(fd)
  }
}

/** As `Descent.placeOf`. @returns undefined also where the path leads through what is no directory */
export function placeAt(tree: Descent, path: Name): Place | undefined {
  try {
    return tree.placeOf(path)
  } catch (error) {
    if (isErrno(error, 'ENOTDIR')) return undefined
    throw error
  }
}
