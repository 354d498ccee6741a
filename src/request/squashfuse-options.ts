import { UsageError } from '../base/index.ts'
import { isInitialUserNamespace } from '../sys/plain/namespaces.ts'
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
 * - `allow_root` is no error. It lets nobody in who is not let in anyway: the kernel knows no such option, and libfuse's
 *   own check of each request would miss those that the kernel answers from its caches;
 * - permissions bind nobody who can read the archive anyway: see `checksPermissions`;
 * - `uid=0` and `gid=0` of squashfuse_ll show the owners that the image has (squashfuse: stat.c).
 */
export function parseSquashfuseOptions(lists: readonly string[], program: SquashfuseName): SquashfuseOptions {
  const words = new MountOptionWords()
  words.add('noallow_other', undefined)
  let asksChecks = false
  let refused: SquashfuseOptions['refused']
  for (const word of lists.flatMap(splitOptions)) {
    const [name, value] = nameAndValue(word)
    try {
      if (name !== 'allow_root') words.add(name, value)
      asksChecks ||= name === 'default_permissions'
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      refused ??= { error, isOwn: OWN[program].includes(name) }
    }
  }
  const all = words.result({ zeroShowsStored: program === 'squashfuse_ll' })
  const defaultPermissions = asksChecks || checksPermissions(all)
  const parsed = { ...all, options: { ...all.options, defaultPermissions } }
  return refused === undefined ? { parsed } : { parsed, refused }
}

/**
 * Whether the kernel checks permissions without being asked to. squashfuse leaves them unchecked: those who mount can
 * read the archive itself, and users of Apptainer read files of mode 0000 and of owners that their namespace does not
 * have. Others, whom `allow_other` lets in, are bound; in a user namespace they belong to the one who made it.
 */
export function checksPermissions({ options: { allowOther } }: ParsedMountOptions): boolean {
  return allowOther && isInitialUserNamespace()
}
