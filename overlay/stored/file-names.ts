import type { Name } from '../../src/base/index.ts'

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
