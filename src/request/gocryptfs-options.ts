import { MountOptionWords, nameAndValue, type ParsedMountOptions } from './mount-options.ts'
import { checksPermissions } from './squashfuse-options.ts'

/**
 * What the options of gocryptfs come to, as words of `-o`: other users are let in with `allow_other` only, and permissions are
 * checked where squashfuse has them checked.
 * @throws UsageError naming the option
 */
export function parseGocryptfsOptions(words: readonly string[]): ParsedMountOptions {
  const all = new MountOptionWords()
  all.add('noallow_other', undefined)
  for (const word of words) all.add(...nameAndValue(word))
  const parsed = all.result()
  const defaultPermissions = checksPermissions(parsed)
  return { ...parsed, options: { ...parsed.options, defaultPermissions } }
}
