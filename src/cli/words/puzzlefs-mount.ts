import type { PathText } from '../../base/index.ts'
import type { MountFlags } from './mount-wish.ts'

/** The options of `puzzlefs mount`, by their long names. */
export interface PuzzlefsOptions {
  readonly flags: ReadonlySet<string>
  readonly values: ReadonlyMap<string, readonly string[]>
}

/** Where `--writable` keeps changes, as puzzlefs does: beside each other below the mount point. */
export interface WritableFolders {
  readonly upper: PathText
  readonly work: PathText
}

/** What they are as options of `mount`; those that nobody may combine are refused before. */
export function puzzlefsMountFlags({ flags, values }: PuzzlefsOptions): MountFlags {
  const last = (name: string): string | undefined => values.get(name)?.at(-1)
  const [digest, persist, initPipe] = [last('digest'), last('persist'), last('init-pipe')]
  const foreground = flags.has('foreground')
  // In the background the caller waits for the end of the command, and the pipe has no reader.
  const pipe =
    foreground && initPipe !== undefined ? [`notify_pipe=${initPipe.replace(/[\\,]/g, '\\$&')}`] : []
  return {
    foreground,
    o: [...(values.get('options') ?? []), ...pipe],
    ...(digest === undefined ? {} : { rootHash: digest }),
    // The directory itself takes changes, not one below it.
    ...(persist === undefined ? {} : { upper: persist }),
  }
}

/** `--writable` alone; `--persist` says where, and counts more. */
export function writableFolders(
  target: PathText,
  { flags, values }: PuzzlefsOptions,
): WritableFolders | undefined {
  if (!flags.has('writable') || values.has('persist')) return undefined
  return { upper: `${target}/upper`, work: `${target}/work` }
}
