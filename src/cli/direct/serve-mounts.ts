import type { PathText } from '../../base/index.ts'
import { type ReadWish, runMountServer, type SourceWord } from '../../daemon/shared/mount-server.ts'
import { parseSource } from '../../molecule/source.ts'
import { parseMountOptions } from '../../request/index.ts'
import { readDirectMount } from './request.ts'

/** Words that say where things of a client are: they would change this process for all. */
const CHANGES_PROCESS = /^--(?:store|index-dir)/

/** Runs a server of several mounts (docs/adr/0041-shared-server.md). @returns the exit code */
export async function serveMounts(): Promise<number> {
  const { cacheSize, workers } = parseMountOptions([]).options
  return await runMountServer({ defaults: { cacheSize, workers }, readWish })
}

/** @param path leads to what the client has opened */
function readWish(
  program: string,
  words: readonly PathText[],
  source: SourceWord | undefined,
  path: PathText,
): ReadWish | undefined {
  if (words.some((word) => CHANGES_PROCESS.test(word))) return undefined
  return readDirectMount(program, words, (asked) => {
    if (asked !== source?.text) throw new Error(`the client has opened another source than ${asked}`)
    const { text, from, to, path: known } = source
    return { ...parseSource(`${text.slice(0, from)}${path}${text.slice(to)}`), path: known }
  })
}
