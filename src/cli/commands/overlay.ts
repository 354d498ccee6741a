import { omitUndefined, UsageError } from '../../base/index.ts'
import type { DaemonProcess } from '../../daemon/client/spawn.ts'
import { buildOverlayRequest } from '../../request/index.ts'
import { formatLines } from '../print/format.ts'
import type { KeyFlags } from '../words/key-flags.ts'
import { type CommonFlags, commonWish } from '../words/mount-wish.ts'
import { serve } from './mount.ts'
import { remount, remountWords } from './remount.ts'

/**
 * Runs `overlay`.
 * @param words the target, after a source that says nothing, as mount.fuse3 has it
 * @returns the exit code, when the mount serves or, in the foreground, when it has ended
 */
export async function overlay(
  words: readonly string[],
  flags: CommonFlags & KeyFlags,
  early?: DaemonProcess,
): Promise<number> {
  const target = words.at(-1)
  if (target === undefined || words.length > 2) {
    throw new UsageError('expected one directory to mount on, after the options')
  }
  const changes = remountWords(flags.o)
  if (changes !== undefined) return await remount(target, changes, flags.metadir)
  const { request, keys, ignored } = buildOverlayRequest({
    ...commonWish(target, flags),
    lists: flags.o ?? [],
  })
  process.stderr.write(formatLines(ignored))
  const { passphrase_file: passphraseFile, kdf_memory: kdfMemory, kdf_time: kdfTime } = keys
  const given = omitUndefined({ passphraseFile, kdfMemory, kdfTime })
  return await serve(request, early, { ownGroup: true }, { ...given, ...flags })
}
