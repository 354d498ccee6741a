import { FsError, type Name, type NodeId, unlessFailed } from '../../src/base/index.ts'
import type { DirectoryCursor, Layer, LayerEntry, Ref } from '../stored/layer-flags.ts'
import type { Candidate, Directory, Found } from './directory.ts'
import type { ParkedCursors } from './parked-cursors.ts'

/** Cookies 1 and 2 are `.` and `..`; the rest counts from here. */
const FIRST_COOKIE = 2

/**
 * Takes one visible name; false where there is no room, and then it was not taken.
 * @param top index of the layer that shows the name
 * @param found undefined where the name could not be resolved because of damage, or must be looked up
 */
export type AddName = (
  name: Name,
  top: number,
  shown: LayerEntry,
  found: Found | undefined,
  cookie: number,
) => boolean

/**
 * Lists a directory that lies in one layer, in the order in which it is stored: nothing here depends on the order,
 * so a layer that is merely odd is still readable. The cookie is the layer's own position.
 * @param cookie 2 for the start, or that of an entry
 * @param plus false where the names will do: then nothing is resolved beyond them
 * @throws FsError EIO, ENOTDIR
 */
export function listSingle(directory: Directory, cookie: number, plus: boolean, add: AddName): void {
  const part = directory.top
  // Positions begin at 0 and cookie 2 is taken by `..`, so the cookie of a position is 3 more.
  const start = cookie <= FIRST_COOKIE ? 0 : cookie - FIRST_COOKIE - 1
  const cursor = openUnordered(directory.layerAt(0), part.ref, start)
  for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
    const shown = show(directory, [{ depth: 0, entry }], plus)
    if (shown === 'hidden') continue
    const next = cursor.position + FIRST_COOKIE + 1
    if (!Number.isSafeInteger(next) || next <= FIRST_COOKIE) {
      throw new FsError(
        'EIO',
        `layer ${directory.layerAt(0).label}: directory ${part.ref}: position ${cursor.position}`,
      )
    }
    // Whoever asks for the name gets the first entry that has it, which need not be this one.
    const found = entry.unsorted === true ? undefined : shown
    if (!add(entry.name, part.layer, entry, found, next)) return
  }
}

/**
 * Lists a merged directory in byte order of names, without holding the names. The cookie is the number of names
 * passed. The cursor is parked for the next call, with the name that found no room still ahead of it.
 * @throws FsError EIO, ENOTDIR
 */
export function listMerged(
  directory: Directory,
  cookie: number,
  plus: boolean,
  add: AddName,
  node: NodeId,
  parked: ParkedCursors,
): void {
  const parts = directory.parts()
  const cursor = parked.resume(node, directory, Math.max(cookie - FIRST_COOKIE, 0))
  for (let group = cursor.peek(); group[0] !== undefined; group = cursor.peek()) {
    const { depth, entry } = group[0]
    const shown = show(directory, group, plus)
    if (shown !== 'hidden') {
      const next = cursor.ordinal + 1 + FIRST_COOKIE
      if (!add(entry.name, parts.layerIndex(depth), entry, shown, next)) break
    }
    // An error in here leaves the cursor behind, unparked: the next call starts from a place before the damage.
    cursor.advance()
  }
  parked.park(node, cursor)
}

function openUnordered(layer: Layer, ref: Ref, position: number): DirectoryCursor {
  return layer.openUnordered?.(ref, position) ?? layer.openDirectory(ref, position)
}

/** Damage of one child must not hide its neighbours: it is listed, and undefined tells that it has no entry. */
function show(
  directory: Directory,
  group: readonly Candidate[],
  plus: boolean,
): Found | undefined | 'hidden' {
  const name = group[0]?.entry.name ?? ''
  let at = 0
  const how = { topOnly: !plus, isAlone: group.length === 1 }
  return unlessFailed(() => directory.resolve(name, () => group[at++], how) ?? 'hidden')
}
