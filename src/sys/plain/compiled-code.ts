import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Script } from 'node:vm'

/**
 * The files in which V8's compiled code of programs waits for their next start (docs/adr/0030-one-process.md). Any
 * trouble with them means that there is no such code.
 */

/** Where the compiled code of a program belongs. */
export interface CodePlace {
  /** Held, because no path is resolved when the code is written (docs/adr/0016-no-paths-after-ready.md). */
  readonly folder: number
  readonly name: string
}

/** A file that was written longer ago goes when another one is written: other versions of Node and of this program. */
const MAX_AGE_MS = 60 * 24 * 3600 * 1000

/** The first line of a program is `// DIGEST`: the build puts a hash of all that follows there. */
const DIGEST = /^\/\/ ([0-9a-f]{32})\n/

/**
 * @param head first bytes of the program, a string of their own, of which the name keeps a piece
 * @param openFolder gives the folder of compiled code, if there is one
 * @returns where the compiled code of a program belongs; undefined where it is not kept
 */
export function codePlace(
  program: string,
  head: string,
  openFolder: () => number | undefined,
): CodePlace | undefined {
  const digest = DIGEST.exec(head)?.[1]
  const folder = digest === undefined ? undefined : openFolder()
  // V8 compares its version, its flags and the length of the program itself.
  return folder === undefined
    ? undefined
    : { folder, name: `${program}-${digest}-${process.version}-${process.arch}` }
}

/** @returns a descriptor of the folder for compiled code; undefined where no folder is ours alone */
export function openCodeFolder(): number | undefined {
  for (const cache of cacheFolders()) {
    const path = join(cache, 'atomfs-fuse')
    try {
      return openOurs(path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') continue
    }
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 })
      return openOurs(path)
    } catch {
      // Read-only, or somebody else's.
    }
  }
  return undefined
}

function cacheFolders(): readonly string[] {
  const chosen = process.env['XDG_CACHE_HOME']
  if (chosen?.startsWith('/')) return [chosen]
  const home = process.env['HOME'] ?? homedir()
  const own = home.startsWith('/') ? [join(home, '.cache')] : []
  return process.geteuid?.() === 0 ? ['/var/cache', ...own] : own
}

/** Opens a folder that nobody else can put files into. @throws where it is missing, a link, or somebody else's */
function openOurs(path: string): number {
  const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants
  return checked(openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW))
}

/** Compiled code is as good as a program: it has to be ours, and nobody else may be able to change it. */
function checked(fd: number): number {
  const { uid, mode } = fstatSync(fd)
  if (uid === process.geteuid?.() && (mode & 0o022) === 0) return fd
  closeSync(fd)
  throw new Error('not ours alone')
}

/** What V8 compiled of a program in an earlier run. */
export interface CompiledCode {
  readonly data: Buffer
  /** The kinds of work that it has code for: a bit each, which the program gives a meaning. */
  readonly kinds: bigint
}

/**
 * @param path that leads to the folder of the place
 * @returns undefined where there is nothing, or no longer what was written
 */
export function readCode({ name }: CodePlace, path: string): CompiledCode | undefined {
  try {
    const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants
    const fd = checked(openSync(`${path}/${name}`, O_RDONLY | O_NOFOLLOW | O_NONBLOCK))
    try {
      return whole(readFileSync(fd))
    } finally {
      closeSync(fd)
    }
  } catch {
    return undefined
  }
}

/** What a file ends in: its length without this, a sum, and 64 bits of kinds. Multiples of 4 bytes. */
const TRAILER = 16

/** One word of so many bytes is summed. A file that a crash of the machine left in parts lacks whole sectors. */
const SUMMED = 512

/**
 * V8 does not look whether code is damaged; it runs it.
 * @returns the code in a file; undefined where it is not what was written
 */
function whole(file: Buffer): CompiledCode | undefined {
  const length = file.length - TRAILER
  if (length < 0 || file.readUInt32LE(length) !== length) return undefined
  if (file.readUInt32LE(length + 4) !== sumOf(file, length)) return undefined
  return { data: file.subarray(0, length), kinds: file.readBigUInt64LE(length + 8) }
}

function withTrailer(data: Buffer, kinds: bigint): Buffer {
  const trailer = Buffer.alloc(TRAILER)
  trailer.writeUInt32LE(data.length, 0)
  trailer.writeUInt32LE(sumOf(data, data.length), 4)
  trailer.writeBigUInt64LE(kinds, 8)
  return Buffer.concat([data, trailer])
}

function sumOf(data: Buffer, length: number): number {
  let sum = length
  const step = SUMMED / Uint32Array.BYTES_PER_ELEMENT
  const words = new Uint32Array(data.buffer, data.byteOffset, length >>> 2)
  for (let at = 0; at < words.length; at += step) sum = (Math.imul(sum, 31) + (words[at] ?? 0)) >>> 0
  return sum
}

/**
 * Writes what V8 has compiled so far. The working directory of a mount is /proc/self/fd by then. Never throws.
 * @param flags those under which the program was loaded (`flagsOfNow`)
 */
export function writeCode({ folder, name }: CodePlace, flags: number, script: Script, kinds: bigint): void {
  try {
    const at = `./${folder}`
    const data = script.createCachedData()
    // Made under flags that no start has, it would be refused for ever.
    if (flagsOf(data) !== flags) throw new Error('made under other flags')
    const temporary = `${at}/${name}.${process.pid}`
    writeFileSync(temporary, withTrailer(data, kinds), { flag: 'wx', mode: 0o600 })
    renameSync(temporary, `${at}/${name}`)
    for (const old of readdirSync(at)) {
      if (/-v\d/.test(old) && Date.now() - statSync(`${at}/${old}`).mtimeMs > MAX_AGE_MS)
        unlinkSync(`${at}/${old}`)
    }
  } catch {
    // A full disk, or another process that removes old files.
  }
}

/** Where compiled code names the flags of V8 under which it was made (V8: SerializedCodeData::kFlagHashOffset). */
const FLAGS_AT = 12

/**
 * V8 takes compiled code only under the flags under which it was made. Those of a mount that serves may be others than
 * those of its start.
 */
export function flagsOfNow(): number {
  return flagsOf(new Script('0').createCachedData())
}

/** Those under which V8 made compiled code. */
export function flagsOf(data: Buffer): number {
  return data.readUInt32LE(FLAGS_AT)
}
