import {
  type Cookie,
  type DirectorySink,
  DT_DIR,
  FsError,
  type Name,
  type NodeId,
  passedOver,
  unlessFailed,
} from '../../src/base/index.ts'
import { unescapedFileName } from '../stored/file-names.ts'
import type { DirectoryCursor, Layer, LayerEntry, Ref } from '../stored/layer-flags.ts'
import { ALONE, ALONE_BY_NAME, type Candidate, type Directory, type Found } from './directory.ts'
import type { ParkedCursors } from './parked-cursors.ts'

const COOKIE_SELF = 1
/** The cookie of `..`; those of names come after it. */
export const COOKIE_PARENT = 2

/**
 * Lists into a sink, under the names that are shown. What the sink took counts as looked up and must reach the kernel: an
 * error after that ends the answer, and the next call meets it again.
 * @throws what `list` throws before the sink took anything
 */
export function listShown(sink: DirectorySink, list: (sink: DirectorySink) => void): void {
  let taken = false
  try {
    list({
      plus: sink.plus,
      add: (stored, ino, type, cookie, entry) => {
        const took = sink.add(unescapedFileName(stored), ino, type, cookie, entry)
        taken ||= took
        return took
      },
    })
  } catch (error) {
    if (!taken) throw error
  }
}

/** Gives `.` and `..` to the sink, as far as they come after the cookie. @returns false where it has no more room */
export function listDots(sink: DirectorySink, cookie: Cookie, self: number, parent: () => number): boolean {
  if (cookie < COOKIE_SELF && !sink.add('.', self, DT_DIR, COOKIE_SELF, undefined)) return false
  return cookie >= COOKIE_PARENT || sink.add('..', parent(), DT_DIR, COOKIE_PARENT, undefined)
}

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
  cookie: Cookie,
) => boolean

/**
 * Lists a directory that lies in one layer, in the order in which it is stored: nothing here depends on the order,
 * so a layer that is merely odd is still readable. The cookie is the layer's own position.
 * @param cookie 2 for the start, or that of an entry
 * @param plus false where the names will do: then nothing is resolved beyond them
 * @throws FsError EIO, ENOTDIR
 */
export function listSingle(directory: Directory, cookie: Cookie, plus: boolean, add: AddName): void {
  const part = directory.top
  // Positions begin at 0 and cookie 2 is taken by `..`, so the cookie of a position is 3 more.
  const start = cookie <= COOKIE_PARENT ? 0 : cookie - COOKIE_PARENT - 1
  const cursor = openUnordered(directory.layerAt(0), part.ref, start)
  for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
    const shown = showOnly(directory, entry, plus)
    if (shown === 'hidden') continue
    const next = cursor.position + COOKIE_PARENT + 1
    if (!Number.isSafeInteger(next) || next <= COOKIE_PARENT) {
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
  cookie: Cookie,
  plus: boolean,
  add: AddName,
  node: NodeId,
  parked: ParkedCursors,
): void {
  const parts = directory.parts()
  const cursor = parked.resume(node, directory, Math.max(cookie - COOKIE_PARENT, 0))
  for (let group = cursor.peek(); group[0] !== undefined; group = cursor.peek()) {
    const { depth, entry } = group[0]
    const shown = show(directory, group, plus)
    if (shown !== 'hidden') {
      const next = cursor.ordinal + 1 + COOKIE_PARENT
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

/** As `show`, for a directory of one part. */
function showOnly(directory: Directory, entry: LayerEntry, plus: boolean): Found | undefined | 'hidden' {
  try {
    return directory.resolveOnly(entry.name, entry, plus ? ALONE : ALONE_BY_NAME) ?? 'hidden'
  } catch (error) {
    return passedOver(error)
  }
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
