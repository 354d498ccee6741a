import { type PathText, UsageError } from '../../base/index.ts'
import { remount as remountTarget } from '../../daemon/client/remount.ts'
import { splitOptions } from '../../request/index.ts'
import { absolutePath, anchoredPath } from '../../sys/files/working-directory.ts'

/** Options that take another one back (mount(8)). */
const OPPOSITES: Readonly<Record<string, string>> = {
  rw: 'ro',
  suid: 'nosuid',
  dev: 'nodev',
  exec: 'noexec',
  async: 'sync',
  symfollow: 'nosymfollow',
  atime: 'noatime',
  diratime: 'nodiratime',
  norelatime: 'relatime',
  nostrictatime: 'strictatime',
  nolazytime: 'lazytime',
}

/** What `-o` says where it asks to change a mount that is there. @returns undefined where it asks for a mount */
export function remountWords(lists: readonly string[] = []): readonly string[] | undefined {
  const words = lists.flatMap(splitOptions)
  return words.includes('remount') ? words.filter((word) => word !== 'remount') : undefined
}

/**
 * Changes the flags of a mount. mount(8) hands over all options that the mount has, in their order; those that are no
 * flags cannot change, and are passed over as the kernel does it (fs/fuse/inode.c:fuse_parse_param).
 * @returns the exit code
 * @throws FsError with one clear line
 */
export async function remount(
  target: PathText,
  words: readonly string[],
  metadir: PathText | undefined,
): Promise<number> {
  if (words.includes('bind')) throw new UsageError('remount,bind is for mount(8): call it with -i')
  await remountTarget(anchoredPath(target), {
    change: (flags) => {
      for (const word of words) {
        const opposite = Object.hasOwn(OPPOSITES, word) ? OPPOSITES[word] : undefined
        if (opposite === undefined) flags.add(word)
        else flags.delete(opposite)
      }
    },
    ...(metadir === undefined ? {} : { metadataDir: absolutePath(metadir) }),
  })
  return 0
}
