import type { Facet, Item, Survey } from './survey.ts'

/** What became of a damaged image, compared with the survey of the intact one. */
export interface Verdict {
  /** Answers that are neither right nor EIO: there must be none. */
  readonly wrong: readonly string[]
  /** Answers that were refused with EIO, as `facet of path`. */
  readonly refused: readonly string[]
  /** Right answers. */
  readonly right: number
}

/** @param actual survey that asked for every path of `golden` by name */
export function judge(actual: Survey, golden: Survey): Verdict {
  const wrong: string[] = []
  const refused: string[] = []
  let right = 0
  for (const [path, expected] of Object.entries(golden.items)) {
    const item = actual.items[path]
    if (item === undefined) {
      wrong.push(`${JSON.stringify(path)}: not asked for`)
      continue
    }
    if (item.stat === '!EIO') {
      refused.push(`stat of ${path}`)
      continue
    }
    for (const facet of Object.keys({ ...expected, ...item }) as Facet[]) {
      const [got, want] = [pieces(item, facet), pieces(expected, facet)]
      // A file whose blocks are not known refuses to be opened or read as a whole.
      const isLengthRight = got.length === want.length || (got.length === 1 && got[0] === '!EIO')
      if (!isLengthRight)
        wrong.push(`${facet} of ${JSON.stringify(path)}: ${got.length} pieces, not ${want.length}`)
      got.forEach((piece, i) => {
        if (piece === want[i]) right += 1
        else if (piece === '!EIO') refused.push(`${facet} of ${path}`)
        else wrong.push(`${facet} ${i} of ${JSON.stringify(path)}: ${piece}, expected ${want[i]}`)
      })
    }
  }
  for (const path of Object.keys(actual.items)) {
    if (!Object.hasOwn(golden.items, path)) wrong.push(`${JSON.stringify(path)}: should not exist`)
  }
  return { wrong, refused, right }
}

function pieces(item: Item, facet: Facet): readonly string[] {
  const text = item[facet]
  if (text === undefined) return []
  return facet === 'content' ? text.split(' ') : [text]
}
