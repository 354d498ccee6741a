import type { LayerMarks, Name } from '../../src/base/index.ts'

/**
 * In a layer a name that begins with `.wh.` is a mark. A file that is shown with such a name is stored with one more dot,
 * and so are those that begin with more dots and `wh.`: `.wh.x` as `..wh.x`, `..wh.x` as `...wh.x`. What is stored so is
 * a plain file to every overlay and to every program that packs the directory (docs/adr/0020-marks-and-names.md).
 */
const SHOWN = /^\.+wh\./
const STORED = /^\.\.+wh\./
const DOT = 0x2e

/** The name under which a file is stored. It may be longer than a name can be. */
export function escapedFileName(shown: Name): Name {
  return shown.charCodeAt(0) === DOT && SHOWN.test(shown) ? `.${shown}` : shown
}

/** The name under which a file is shown. @param stored is no mark */
export function unescapedFileName(stored: Name): Name {
  return stored.charCodeAt(0) === DOT && STORED.test(stored) ? stored.slice(1) : stored
}

const MARK = '.wh.'

/** How a layer spells names, where that is not as an upper does. Both directions undo each other. */
export interface Spelling {
  /** As an upper stores a name of the layer. */
  stored(own: Name): Name
  /** @returns undefined where the layer can have no such name */
  own(stored: Name): Name | undefined
  /** All names that are spelled otherwise begin with one of these. */
  readonly prefixes: readonly Name[]
}

/** All names are data: those that would be marks need the escape. */
const DATA: Spelling = {
  stored: escapedFileName,
  own: (stored) => (stored.startsWith(MARK) ? undefined : unescapedFileName(stored)),
  prefixes: ['.'],
}

/** Archives of layers: names that begin with `.wh.` are marks, and there is no escape for others. */
const ARCHIVE: Spelling = {
  stored: (own) => (own.startsWith(MARK) ? MARK + ofDeleted(own, escapedFileName) : escapedFileName(own)),
  own(stored) {
    if (stored.startsWith(MARK)) return MARK + ofDeleted(stored, unescapedFileName)
    const own = unescapedFileName(stored)
    // Such a name would be a mark there.
    return own.startsWith(MARK) ? undefined : own
  },
  prefixes: ['..', '.wh...'],
}

/** The name that a mark deletes, in another spelling; what AUFS keeps for itself has one. */
function ofDeleted(mark: Name, spell: (name: Name) => Name): Name {
  const name = mark.slice(MARK.length)
  return name.startsWith(MARK) ? name : spell(name)
}

/** @returns undefined where a layer spells names as an upper does */
export function spellingOf({ names, plainNames }: LayerMarks): Spelling | undefined {
  if (!names) return DATA
  return plainNames === true ? ARCHIVE : undefined
}
