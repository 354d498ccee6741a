import type { KeyObject } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { FsError, type PathText, systemPath, withFsError } from '../../base/index.ts'
import type { KeySource } from '../../crypt/keys/key-source.ts'
import { readPrivateKey } from '../../crypt/keys/pem.ts'
import { takeVariable } from '../../sys/process/secret-variable.ts'
import { askPassphrase } from './prompt.ts'

/** Variables of Apptainer. They are taken out of the environment when they are used. */
const PASSPHRASE = 'APPTAINER_ENCRYPTION_PASSPHRASE'
const PEM_PATH = 'APPTAINER_ENCRYPTION_PEM_PATH'
const PEM_DATA = 'APPTAINER_ENCRYPTION_PEM_DATA'

/** A passphrase, or a key in PEM, has no more bytes. */
const FILE_LIMIT = 64 << 10
const NEWLINE = 0x0a
const RETURN = 0x0d

/**
 * The keys that the user of a command gives: a file on the command line counts first; then, as in Apptainer, a PEM key
 * before a passphrase of the environment; at last a question on the terminal.
 */
export class CommandKeys implements KeySource {
  readonly #file: PathText | undefined
  readonly #asks: boolean
  #privateKey: KeyObject | undefined
  #passphrase: Uint8Array | undefined

  /**
   * @param file with a passphrase
   * @param asks whether a passphrase is asked for on a terminal
   */
  constructor({ file, asks = true }: { readonly file?: PathText | undefined; readonly asks?: boolean } = {}) {
    this.#file = file
    this.#asks = asks
  }

  privateKey(): KeyObject | undefined {
    if (this.#file !== undefined) return undefined
    this.#privateKey ??= readKey()
    return this.#privateKey
  }

  async passphrase(label: PathText): Promise<Uint8Array | undefined> {
    this.#passphrase ??= await this.#findPassphrase(label)
    return this.#passphrase
  }

  /** Overwrites what was read. */
  wipe(): void {
    this.#passphrase?.fill(0)
    this.#passphrase = undefined
    this.#privateKey = undefined
  }

  async #findPassphrase(label: PathText): Promise<Uint8Array | undefined> {
    if (this.#file !== undefined) return readPassphrase(this.#file)
    const given = takeVariable(PASSPHRASE)
    return given === undefined && this.#asks ? await askPassphrase(label) : given
  }
}

function readKey(): KeyObject | undefined {
  const path = process.env[PEM_PATH]
  const pem = path ? readFile(path, PEM_PATH) : takeVariable(PEM_DATA)
  if (pem === undefined) return undefined
  try {
    return readPrivateKey(pem, path || PEM_DATA)
  } finally {
    pem.fill(0)
  }
}

/** One newline at the end is not part of a passphrase: editors and echo(1) write it. @throws FsError */
function readPassphrase(path: PathText): Uint8Array {
  const bytes = readFile(path, '--passphrase-file')
  let end = bytes.length
  if (bytes[end - 1] === NEWLINE) end -= bytes[end - 2] === RETURN ? 2 : 1
  if (end === 0) throw new FsError('EINVAL', `--passphrase-file ${path}: is empty`)
  return bytes.subarray(0, end)
}

/** @throws FsError, also for a file that is too large for a key */
function readFile(path: PathText, what: string): Buffer {
  const room = Buffer.alloc(FILE_LIMIT + 1)
  const length = withFsError(`${what} ${path}`, () => {
    const fd = openSync(systemPath(path), 'r')
    try {
      let done = 0
      for (;;) {
        // Also of a pipe.
        const count = readSync(fd, room, done, room.length - done, null)
        done += count
        if (count === 0 || done === room.length) return done
      }
    } finally {
      closeSync(fd)
    }
  })
  if (length <= FILE_LIMIT) return room.subarray(0, length)
  room.fill(0)
  throw new FsError('EFBIG', `${what} ${path}: has more than ${FILE_LIMIT} bytes`)
}
