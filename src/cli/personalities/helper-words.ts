import type { PathText } from '../../base/index.ts'

/** Flags that change nothing here: options that are unknown are named, there is no mtab, and success is silent. */
const WITHOUT_EFFECT = new Set(['s', 'n', 'v'])

interface HelperWords {
  /** `-f`: everything but the mount is to be done. */
  readonly isFake: boolean
  /** What `mount` takes. */
  readonly rest: readonly PathText[]
}

/** Separates what mount(8) says to any helper from what `mount` takes. */
export function readHelperWords(words: readonly PathText[]): HelperWords {
  const rest: PathText[] = []
  let isFake = false
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    if (word === '-o') rest.push(word, words[++at] ?? '')
    // mount(8) is in the namespace already, and the type is known by the name.
    else if (word === '-N' || word === '-t') at++
    else if (!/^-[sfnv]+$/.test(word)) rest.push(word)
    else isFake ||= [...word.slice(1)].some((flag) => !WITHOUT_EFFECT.has(flag))
  }
  return { isFake, rest }
}
