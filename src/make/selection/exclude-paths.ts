import { encodePath, type PathText } from '../../base/index.ts'
import type { Exclusion } from './exclusion.ts'

/**
 * Paths to leave out of an image, by what was said of single paths: for those who go through a tree and call `addExclude`
 * or `addInclude` for each path as they find it changed or not. Leaving out a directory leaves out all below it, so a path
 * that is to be in the image takes back what was said of the directories that it lies in, whichever came first. The
 * `ExcludePaths` of the Go package `machinerun.io/atomfs/pkg/squashfs`.
 */
export class ExcludePaths {
  readonly #excluded = new Set<PathText>()
  /** Paths that are included, and all directories above them. */
  readonly #needed = new Set<PathText>()

  /** Leaves a path out, and what lies below it, unless something there is included. @param path absolute */
  addExclude(path: PathText): void {
    const place = normal(path)
    if (!this.#needed.has(place)) this.#excluded.add(place)
  }

  /** Keeps a path, and the directories above it. @param path absolute */
  addInclude(path: PathText): void {
    for (let place = normal(path); ; place = place.slice(0, place.lastIndexOf('/'))) {
      this.#excluded.delete(place)
      this.#needed.add(place)
      if (place === '') return
    }
  }

  /** One path a line, and an empty line, as `mksquashfs -ef` reads it. */
  toString(): string {
    return `${[...this.#excluded].map((path) => `${path === '' ? '/' : path}\n`).join('')}\n`
  }

  /** The same for a tree whose root is at an absolute path. */
  below(root: PathText): Exclusion {
    const prefix = `${normal(root)}/`
    const inside = [...this.#excluded].filter((path) => path.startsWith(prefix))
    const names = new Set(inside.map((path) => encodePath(path.slice(prefix.length)).toString('latin1')))
    return { excludes: (path) => names.has(path) }
  }
}

/** Without double slashes and a slash at the end; the root is `''`. */
function normal(path: PathText): PathText {
  return path.replace(/\/+/g, '/').replace(/\/$/, '')
}
