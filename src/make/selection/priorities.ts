import { encodePath, FsError, type Name, namesOfPath, type PathText } from '../../base/index.ts'

const LEAST = -32_768
const MOST = 32_767

/** Where in the image the data of files come: those of a higher priority first. */
export class Priorities {
  readonly #listed = new Map<Name, number>()

  /**
   * Reads a list as `mksquashfs -sort` takes it: a path, blanks and a number from −32768 to 32767 in each line. Paths begin
   * at the root of the tree; a directory stands for all that lies below it and has no line of its own. Lines that begin
   * with `#` are comments; `\` before a blank or another `\` makes it part of the path.
   * @param label of the list, for messages
   * @throws FsError EINVAL with the line
   */
  constructor(list: string, label: PathText) {
    for (const [i, line] of list.split('\n').entries()) {
      const text = line.trimStart()
      if (text === '' || text.startsWith('#')) continue
      const [, path = '', digits = ''] = /^((?:\\.|[^\\\s])+)\s+(-?\d{1,5})\s*$/.exec(text) ?? []
      const priority = Number(digits)
      const where = `${label}, line ${i + 1}`
      if (digits === '' || priority < LEAST || priority > MOST) {
        throw new FsError('EINVAL', `${where}: a path and a number from ${LEAST} to ${MOST} are needed`)
      }
      const bytes = encodePath(path.replace(/\\(.)/g, '$1')).toString('latin1')
      this.#listed.set(namesOfPath(bytes, where).join('/'), priority)
    }
  }

  /** The priority of a file: that of its line, or of the nearest directory above it that has one, or 0. */
  of(path: Name): number {
    for (let place = path; ; place = place.slice(0, Math.max(place.lastIndexOf('/'), 0))) {
      const priority = this.#listed.get(place)
      if (priority !== undefined) return priority
      if (place === '') return 0
    }
  }
}
