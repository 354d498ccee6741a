import { UsageError } from '../base/index.ts'
import { MountOptionWords, nameAndValue, type ParsedMountOptions, splitOptions } from './mount-options.ts'
import { checksPermissions } from './squashfuse-options.ts'

/**
 * Options of fuse2fs that change nothing here: nobody writes, a journal is replayed in memory, access lists are always
 * shown, and permissions bind nobody who can read the file system anyway (`fakeroot`).
 */
const WITHOUT_EFFECT = new Set(
  'fakeroot acl nouser_xattr minixdf bsddf norecovery errors no_default_opts offline kernel allow_root'.split(
    ' ',
  ),
)

/** What the options of fuse2fs come to. @throws UsageError naming the option; without `ro`, because nothing is written */
export function parseFuse2fsOptions(lists: readonly string[]): ParsedMountOptions {
  const words = new MountOptionWords()
  // libfuse lets others in with `allow_other` only, also for root.
  words.add('noallow_other', undefined)
  let asksChecks = false
  for (const word of lists.flatMap(splitOptions)) {
    const [name, value] = nameAndValue(word)
    if (WITHOUT_EFFECT.has(name)) continue
    words.add(name, value)
    asksChecks ||= name === 'default_permissions'
  }
  const parsed = words.result()
  if (!parsed.options.showsOnly) {
    throw new UsageError(
      'this fuse2fs only reads: give -o ro; atomfs-fuse mount --upper keeps changes in a directory beside the file system',
    )
  }
  const defaultPermissions = asksChecks || checksPermissions(parsed)
  return { ...parsed, options: { ...parsed.options, defaultPermissions } }
}

/**
 * Where the file system begins in its file for a caller that shifts all reads by a library of its own (Apptainer's
 * offsetpreload): bin/atomfs-fuse starts without that library.
 * @param archive as it stands on the command line
 * @returns an option; undefined where no such caller is there
 */
export function preloadedOffset(archive: string, env: NodeJS.ProcessEnv): string | undefined {
  const { OFFSETPRELOAD_FILE: file, OFFSETPRELOAD_OFFSET: offset } = env
  return file === archive && offset !== undefined ? `offset=${offset}` : undefined
}
