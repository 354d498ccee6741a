import { isErrno, type PathText } from '../../base/index.ts'
import type { KeySource } from '../../crypt/keys/key-source.ts'
import { wipeKeys } from '../../crypt/keys/keyring.ts'
import { lockedImages, type MountSource } from '../../molecule/source.ts'
import { collectGarbage } from '../../sys/process/garbage.ts'
import { forbidCoreDumps } from '../../sys/process/limits.ts'
import { formatWarnings } from '../print/format.ts'
import type { KeyFlags } from '../words/key-flags.ts'

/** A source that a command will open, and a passphrase file of its own. */
export interface WantedSource {
  readonly source: MountSource
  readonly passphraseFile?: PathText | undefined
}

export interface UnlockChoices {
  /** Nothing is asked on the terminal, and a key that nobody has given is no error: the command does without. */
  readonly isOptional?: boolean
  /** Where keys come from instead of the options of commands and the environment; the caller wipes them. */
  readonly keys?: KeySource
}

let allowCoreDumps: (() => void) | undefined

/** To be called by a command that goes on to start programs of others, when it needs the keys no more. */
export function forgetKeys(): void {
  wipeKeys()
  allowCoreDumps?.()
}

/**
 * Finds the keys of the encrypted images that sources lead to, by what the user gives. Nothing is loaded, and nothing
 * asked, where there are none.
 * @throws FsError as `unlockSource`; UsageError
 */
export async function unlock(
  sources: readonly WantedSource[],
  flags: KeyFlags,
  { isOptional = false, keys: given }: UnlockChoices = {},
): Promise<void> {
  const locked = sources.filter(({ source }) => lockedImages(source).length > 0)
  if (locked.length === 0) return
  allowCoreDumps ??= forbidCoreDumps()
  const [{ unlockSource }, { CommandKeys }, { kdfLimits }] = await Promise.all([
    import('../../molecule/encryption/unlock.ts'),
    import('./command-keys.ts'),
    import('../words/key-flags.ts'),
  ])
  const limits = kdfLimits(flags)
  const common = new CommandKeys({ file: flags.passphraseFile, asks: !isOptional })
  for (const { source, passphraseFile } of locked) {
    const own = passphraseFile === undefined ? common : new CommandKeys({ file: passphraseFile })
    const keys = given ?? own
    try {
      process.stderr.write(formatWarnings(await unlockSource(source, { keys, limits })))
    } catch (error) {
      if (!isOptional || !isErrno(error, 'ENOKEY')) throw error
    } finally {
      if (own !== common) own.wipe()
    }
  }
  common.wipe()
  // Of argon2 in WebAssembly, which takes what the header asks for: a mount in the foreground goes on for long.
  collectGarbage()
}
