import { encodePath, type Name, type PathText, UsageError } from '../../base/index.ts'

/** One path of the user, and whether the image has it. */
interface Wish {
  readonly text: PathText
  /** One for each name of the path. */
  readonly names: readonly NamePattern[]
  isFound: boolean
}

interface NamePattern {
  readonly matches: (name: Name) => boolean
}

/** What is wanted of one directory: all, or what begins with the wishes from some name on. */
export interface Wanted {
  readonly wishes: readonly Wish[]
  /** How many names of the wishes lie above. */
  readonly depth: number
}

/** Everything in a directory. */
export const ALL = 'all'

/**
 * Which part of a tree is wanted: paths from its root, in whose names `*`, `?` and `[…]` stand for characters. A directory
 * is wanted with all that is in it.
 */
export class Selection {
  readonly #wishes: readonly Wish[]

  /** @param paths none: all is wanted. @throws UsageError for a path that leads out of the image */
  constructor(paths: readonly PathText[]) {
    this.#wishes = paths.map((text) => ({ text, names: namesOf(text), isFound: false }))
  }

  /** What is wanted of the root. */
  get root(): Wanted | typeof ALL {
    const whole = this.#wishes.find(({ names }) => names.length === 0)
    if (whole !== undefined) for (const wish of this.#wishes) wish.isFound ||= wish.names.length === 0
    return this.#wishes.length === 0 || whole !== undefined ? ALL : { wishes: this.#wishes, depth: 0 }
  }

  /** What was wanted and is not there. */
  get missing(): readonly PathText[] {
    return this.#wishes.filter(({ isFound }) => !isFound).map(({ text }) => text)
  }
}

/** @returns undefined where nothing of it is wanted. @param isDirectory of anything else only the end of a path is wanted */
export function wantedBelow(
  wanted: Wanted | typeof ALL,
  name: Name,
  isDirectory: boolean,
): Wanted | typeof ALL | undefined {
  if (wanted === ALL) return ALL
  const { depth } = wanted
  const wishes = wanted.wishes.filter(({ names }) => names[depth]?.matches(name) === true)
  const ended = wishes.filter(({ names }) => names.length === depth + 1)
  for (const wish of ended) wish.isFound = true
  if (ended.length > 0) return ALL
  return isDirectory && wishes.length > 0 ? { wishes, depth: depth + 1 } : undefined
}

function namesOf(text: PathText): NamePattern[] {
  const names = encodePath(text)
    .toString('latin1')
    .split('/')
    .filter((name) => name !== '' && name !== '.')
  if (names.includes('..')) throw new UsageError(`path ${JSON.stringify(text)}: ".." is not possible here`)
  return names.map(patternOf)
}

/** @param pattern as in the shell, on bytes; a backslash takes the meaning of the next character away */
function patternOf(pattern: Name): NamePattern {
  if (!/[*?[\\]/.test(pattern)) return { matches: (name) => name === pattern }
  let source = ''
  for (let at = 0; at < pattern.length; at += 1) {
    const character = pattern.charAt(at)
    const set = /^\[([!^]?)(\]?[^\]]*)\]/.exec(pattern.slice(at))
    if (set !== null) {
      const [whole, not = '', members = ''] = set
      source += `[${not === '' ? '' : '^'}${members.replace(/[\\\]^[]/g, '\\$&')}]`
      at += whole.length - 1
    } else if (character === '*') {
      // Two in a row mean no more than one, and cost much more.
      if (!source.endsWith('.*')) source += '.*'
    } else if (character === '?') source += '.'
    else {
      if (character === '\\') at += 1
      source += pattern.charAt(at).replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
    }
  }
  return compiled(source, pattern)
}

function compiled(source: string, pattern: Name): NamePattern {
  try {
    const expression = new RegExp(`^${source}$`, 's')
    return { matches: (name) => expression.test(name) }
  } catch {
    throw new UsageError(`${JSON.stringify(pattern)} is no pattern for names`)
  }
}
