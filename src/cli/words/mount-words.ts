import { UsageError } from '../../base/index.ts'
import { nameAndValue, splitOptions } from '../../request/index.ts'

/** Options of `mount` that may stand after `-o`, too, as commander makes them. */
interface WordFlags {
  readonly persist?: string
  readonly upper?: string
  readonly rootHash?: string
  readonly metadir?: string
  readonly log?: string
  readonly logLevel?: string
  readonly passphraseFile?: string
  readonly kdfMemory?: string
  readonly kdfTime?: string
  readonly writable?: boolean
  readonly writeable?: boolean
  readonly allowMissingVerity?: boolean
  readonly o?: readonly string[]
}

const WITH_VALUE = {
  persist: 'persist',
  upper: 'upper',
  root_hash: 'rootHash',
  metadir: 'metadir',
  log: 'log',
  log_level: 'logLevel',
  passphrase_file: 'passphraseFile',
  kdf_memory: 'kdfMemory',
  kdf_time: 'kdfTime',
} as const satisfies Readonly<Record<string, keyof WordFlags>>

const ALONE = {
  writable: 'writable',
  writeable: 'writeable',
  allow_missing_verity: 'allowMissingVerity',
} as const satisfies Readonly<Record<string, keyof WordFlags>>

/**
 * The words after `-o` that stand for options of the command. fstab and units of systemd have nothing else. All of them
 * are about the source or the daemon, and none reaches the kernel.
 */
export const MOUNT_WORDS: readonly string[] = [...Object.keys(WITH_VALUE), ...Object.keys(ALONE)]

/**
 * Moves such words to the options that they stand for. An option of the command line counts more than a word.
 * @returns the flags, with the other words in `o`
 * @throws UsageError for a value that is missing, or is there where none belongs
 */
export function withMountWords<T extends WordFlags>(flags: T): T {
  const found: Record<string, string | boolean> = {}
  const rest: string[] = []
  for (const word of (flags.o ?? []).flatMap(splitOptions)) {
    const [name, value] = nameAndValue(word)
    if (isKey(ALONE, name)) {
      if (value !== undefined) throw new UsageError(`option '${name}' takes no value`)
      found[ALONE[name]] = true
    } else if (isKey(WITH_VALUE, name)) {
      if (value === undefined || value === '') {
        throw new UsageError(`option '${name}' needs a value: ${name}=...`)
      }
      found[WITH_VALUE[name]] = value
    } else rest.push(word.replace(/[\\,]/g, '\\$&'))
  }
  return { ...found, ...flags, o: rest }
}

function isKey<T extends object>(table: T, name: string): name is Extract<keyof T, string> {
  return Object.hasOwn(table, name)
}
