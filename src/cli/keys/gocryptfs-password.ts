import { spawnSync } from 'node:child_process'
import type { KeyObject } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { codeOf, FsError, type PathText, systemPath, withFsError } from '../../base/index.ts'
import type { KeySource } from '../../crypt/keys/key-source.ts'
import { askPassphrase } from './prompt.ts'

/** Bytes that gocryptfs takes at most. */
const MOST_BYTES = 2048
const NEWLINE = 0x0a

/** Where gocryptfs takes a password from: files, a program, else standard input, and there a question on a terminal. */
export class GocryptfsPassword implements KeySource {
  readonly #files: readonly PathText[]
  readonly #program: readonly string[]
  #password: Uint8Array | undefined

  /** @param program with its words; empty for none */
  constructor(files: readonly PathText[], program: readonly string[]) {
    this.#files = files
    this.#program = program
  }

  privateKey(): KeyObject | undefined {
    return undefined
  }

  async passphrase(label: PathText): Promise<Uint8Array> {
    this.#password ??= await this.#read(label)
    return this.#password
  }

  wipe(): void {
    this.#password?.fill(0)
    this.#password = undefined
  }

  async #read(label: PathText): Promise<Uint8Array> {
    if (this.#files.length > 0) return Buffer.concat(this.#files.map(firstLineOfFile))
    if (this.#program.length > 0) return outputOf(this.#program)
    if (process.stdin.isTTY) {
      const typed = await askPassphrase(label)
      if (typed === undefined) throw new FsError('ENOKEY', 'the password is empty')
      return typed
    }
    return withFsError('standard input', () => firstLine(0, 'standard input'))
  }
}

function firstLineOfFile(path: PathText): Buffer {
  return withFsError(`-passfile ${path}`, () => {
    const fd = openSync(systemPath(path), 'r')
    try {
      return firstLine(fd, path)
    } finally {
      closeSync(fd)
    }
  })
}

/** Byte by byte: what follows the line in a pipe is for others. @throws FsError ENOKEY where there is nothing */
function firstLine(fd: number, what: PathText): Buffer {
  const line = Buffer.alloc(MOST_BYTES + 1)
  let length = 0
  while (length < line.length && readSync(fd, line, length, 1, null) === 1 && line[length] !== NEWLINE)
    length++
  return checked(line, length, what)
}

function outputOf([command = '', ...words]: readonly string[]): Buffer {
  const { error, status, signal, stdout } = spawnSync(command, words, {
    stdio: ['inherit', 'pipe', 'inherit'],
    maxBuffer: 1 << 20,
  })
  if (error !== undefined) {
    throw new FsError('ENOKEY', `-extpass ${command}: ${codeOf(error) ?? error.message}`, { cause: error })
  }
  try {
    if (status !== 0)
      throw new FsError('ENOKEY', `-extpass ${command}: ended with ${signal ?? `status ${status}`}`)
    const end = stdout.indexOf(NEWLINE)
    return checked(Buffer.from(stdout), end < 0 ? stdout.length : end, command)
  } finally {
    stdout.fill(0)
  }
}

function checked(line: Buffer, length: number, what: PathText): Buffer {
  if (length > 0 && length <= MOST_BYTES) return line.subarray(0, length)
  line.fill(0)
  const wrong = length === 0 ? 'is empty' : `has more than ${MOST_BYTES} bytes`
  throw new FsError('ENOKEY', `the password from ${what} ${wrong}`)
}
