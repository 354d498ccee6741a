import { FsError, type NamedSource, UsageError } from '../../base/index.ts'
import { parseSource, withOffset, withParts } from '../../molecule/source.ts'
import { parseMountOptions, parseOffset } from '../../request/index.ts'
import type { KeyFlags } from '../words/key-flags.ts'
import { withMountWords } from '../words/mount-words.ts'
import { unlock, type WantedSource } from './unlock.ts'

/** The options that say which image is meant, and how its key is found. */
export interface UnlockFlags extends KeyFlags {
  readonly o?: readonly string[]
  readonly offset?: string
  readonly rootHash?: string
  /** Those of `diff` for its second source. */
  readonly otherOptions?: readonly string[]
  readonly otherOffset?: string
  readonly otherPassphraseFile?: string
}

/**
 * Finds the keys of the sources of a command, before it opens them.
 * @param sources as on the command line; what is none, the command itself explains
 * @throws FsError, UsageError as `unlock`
 */
export async function unlockArguments(
  command: string,
  sources: readonly string[],
  given: UnlockFlags,
): Promise<void> {
  const flags = withMountWords(given)
  const wanted = sources.flatMap((text, i): WantedSource[] => {
    const isOther = command === 'diff' && i === 1
    const source = isOther
      ? sourceOf(text, given.otherOptions, given.otherOffset)
      : sourceOf(text, flags.o, flags.offset)
    if (source === undefined || !needsKey(command, source, flags)) return []
    return [{ source, passphraseFile: isOther ? given.otherPassphraseFile : undefined }]
  })
  await unlock(wanted, flags, { isOptional: command === 'inspect' })
}

/** Signatures cover what is encrypted, so they are checked without a key. */
function needsKey(command: string, { container, offset }: NamedSource, { rootHash }: UnlockFlags): boolean {
  return command !== 'verify' || container !== 'sif' || offset !== undefined || rootHash !== undefined
}

function sourceOf(
  text: string,
  words: readonly string[] = [],
  offset: string | undefined,
): NamedSource | undefined {
  try {
    const { parts, offset: byWord } = parseMountOptions(withMountWords({ o: words }).o)
    const source = withParts(parseSource(text), parts)
    return withOffset(source, offset === undefined ? byWord : parseOffset(offset))
  } catch (error) {
    if (error instanceof FsError || error instanceof UsageError) return undefined
    throw error
  }
}
