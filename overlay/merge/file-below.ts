import { DT_DIR, DT_LNK, FsError, type Name } from '../../src/base/index.ts'
import { escapedFileName } from '../stored/file-names.ts'

/** As in the kernel's path walk. */
const LINKS_MAX = 40
/** Names on the way with those of all links: a path of 4096 bytes has fewer. */
const NAMES_MAX = 2048

/** What a walk finds under a name. `S` is what the merge knows of it. */
export interface Step<S> {
  readonly found: S
  /** DT_* */
  readonly type: number
}

/** A directory that can be walked through. */
export interface Walkable<S> {
  step(name: Name): Step<S> | undefined
  /** The directory that a step has found. */
  enter(step: Step<S>): Walkable<S>
  /** Where the symbolic link of a step leads. */
  target(step: Step<S>): Name
}

/**
 * The file at a path of a merge. Symbolic links on the way are followed, and lead nowhere out of the root; the last name
 * is not (as link(2) does for those who extract one layer over the other).
 * @param root of the merge
 * @param path from there
 * @returns undefined where there is none, or a directory
 * @throws FsError EIO; ELOOP for more than 40 links on the way
 */
export function fileAt<S>(root: Walkable<S>, path: Name): Step<S> | undefined {
  const waiting = path.split('/')
  const way: Walkable<S>[] = [root]
  let links = 0
  for (let names = 1; ; names++) {
    const name = waiting.shift()
    if (name === undefined) return undefined
    if (names > NAMES_MAX || links > LINKS_MAX) {
      throw new FsError('ELOOP', `${JSON.stringify(path)}: more than ${LINKS_MAX} symbolic links on the way`)
    }
    if (name === '' || name === '.') continue
    if (name === '..') {
      if (way.length > 1) way.pop()
      continue
    }
    const directory = way.at(-1) ?? root
    const step = directory.step(escapedFileName(name))
    if (step === undefined) return undefined
    if (waiting.length === 0) return step.type === DT_DIR ? undefined : step
    if (step.type === DT_DIR) way.push(directory.enter(step))
    else if (step.type !== DT_LNK) return undefined
    else {
      links += 1
      const target = directory.target(step)
      if (target.startsWith('/')) way.length = 1
      waiting.unshift(...target.split('/'))
    }
  }
}
