import * as crypto from 'node:crypto'
import { createRequire } from 'node:module'
import { FsError } from '../../base/index.ts'
import type { Argon2, Argon2Parameters } from './argon2.ts'
import { openArgon2Library } from './argon2-library.ts'

interface NodeArgon2Parameters {
  readonly message: Uint8Array
  readonly nonce: Uint8Array
  readonly parallelism: number
  readonly tagLength: number
  readonly memory: number
  readonly passes: number
}
type Argon2Sync = (form: string, parameters: NodeArgon2Parameters) => Buffer

function openNode(): Argon2 | undefined {
  // Node 24.7 and later, unless it is linked with an OpenSSL before 3.2; others have no such name to import.
  const { argon2Sync } = crypto as { readonly argon2Sync?: Argon2Sync }
  if (argon2Sync === undefined) return undefined
  return {
    library: `node:crypto (OpenSSL ${process.versions.openssl})`,
    isNative: true,
    derive: async (message, { form, salt: nonce, time: passes, memory, lanes: parallelism, length }) =>
      argon2Sync(form, { message, nonce, parallelism, tagLength: length, memory, passes }),
  }
}

/** What is called of the package. */
type HashWasm = Readonly<
  Record<
    Argon2Parameters['form'],
    (options: {
      readonly password: Uint8Array
      readonly salt: Uint8Array
      readonly iterations: number
      readonly parallelism: number
      readonly memorySize: number
      readonly hashLength: number
      readonly outputType: 'binary'
    }) => Promise<Uint8Array>
  >
>

const HASH_WASM = 'hash-wasm'
const requireHere = createRequire(import.meta.url)

function openHashWasm(): Argon2 | undefined {
  let hashWasm: HashWasm
  let version: string
  try {
    hashWasm = requireHere(HASH_WASM) as HashWasm
    version = (requireHere(`${HASH_WASM}/package.json`) as { readonly version: string }).version
  } catch {
    return undefined
  }
  return {
    library: `${HASH_WASM} ${version}`,
    isNative: false,
    derive: async (password, { form, salt, time, memory, lanes, length }) =>
      await hashWasm[form]({
        password,
        salt,
        iterations: time,
        parallelism: lanes,
        memorySize: memory,
        hashLength: length,
        outputType: 'binary',
      }),
  }
}

/** Best first, by measurement (docs/adr/0039-encryption.md). */
export const ARGON2_CANDIDATES: readonly (() => Argon2 | undefined)[] = [
  openNode,
  openArgon2Library,
  openHashWasm,
]

/** The best argon2 of this machine. @throws FsError EOPNOTSUPP */
export function openArgon2(): Argon2 {
  const candidates =
    process.env['ATOMFS_CODECS'] === 'portable' ? ARGON2_CANDIDATES.slice(-1) : ARGON2_CANDIDATES
  for (const open of candidates) {
    const argon2 = open()
    if (argon2 !== undefined) return argon2
  }
  throw new FsError('EOPNOTSUPP', 'no argon2: the package hash-wasm cannot be loaded')
}
