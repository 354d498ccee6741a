import { UsageError } from '../base/index.ts'
import { MountOptionWords, nameAndValue, type ParsedMountOptions, splitOptions } from './mount-options.ts'

/** The two programs of squashfuse, whose options are not quite the same. */
export type SquashfuseName = 'squashfuse' | 'squashfuse_ll'

/** The options that each program reads itself; libfuse reads the others (squashfuse: hl.c and ll_main.c, `fuse_opts`). */
const OWN: Readonly<Record<SquashfuseName, readonly string[]>> = {
  squashfuse: ['offset', 'subdir', 'notify_pipe'],
  squashfuse_ll: ['offset', 'timeout', 'uid', 'gid', 'subdir', 'notify_pipe'],
}

/** What the options of squashfuse come to. */
export interface SquashfuseOptions {
  readonly parsed: ParsedMountOptions
  /** The first word that is no option, or has a wrong value; `parsed` is then what the others say. */
  readonly refused?: { readonly error: UsageError; readonly isOwn: boolean }
}

/**
 * Reads the values of all `-o` as squashfuse takes them. They are options of mount, except that
 * - other users are let in with `allow_other` only, also for root;
 * - `allow_root` is no error. It lets nobody in who is not let in anyway: the kernel knows no such option;
 * - `uid=0` and `gid=0` of squashfuse_ll show the owners that the image has (squashfuse: stat.c).
 */
export function parseSquashfuseOptions(lists: readonly string[], program: SquashfuseName): SquashfuseOptions {
  const words = new MountOptionWords()
  words.add('noallow_other', undefined)
  let refused: SquashfuseOptions['refused']
  for (const word of lists.flatMap(splitOptions)) {
    const [name, value] = nameAndValue(word)
    try {
      if (name !== 'allow_root') words.add(name, value)
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      refused ??= { error, isOwn: OWN[program].includes(name) }
    }
  }
  const parsed = words.result({ zeroShowsStored: program === 'squashfuse_ll' })
  return refused === undefined ? { parsed } : { parsed, refused }
}
