import { closeSync, openSync, statSync } from 'node:fs'
import packageJson from '../../../package.json' with { type: 'json' }
import {
  codeOf,
  FsError,
  isErrno,
  type NamedSource,
  type PathText,
  systemPath,
  UsageError,
} from '../../base/index.ts'
import { type GocryptfsCall, readGocryptfsWords } from './gocryptfs-words.ts'
import type { Personality } from './personality.ts'

/** The version of gocryptfs whose options and directories are understood. */
const LIKE_VERSION = '2.6.1'

/** Exit codes of gocryptfs (internal/exitcodes). */
const EXIT = {
  usage: 1,
  cipherDir: 6,
  init: 7,
  loadConfig: 8,
  readPassword: 9,
  mountpoint: 10,
  other: 11,
  wrongPassword: 12,
  scrypt: 13,
  mount: 19,
  openConfig: 23,
} as const

/** An error, and the exit code that callers know it by. */
class Failure extends Error {
  readonly exitCode: number
  override readonly cause: unknown

  constructor(exitCode: number, cause: unknown) {
    super('', { cause })
    this.exitCode = exitCode
    this.cause = cause
  }
}

/** `gocryptfs [-fg] [OPTIONS] CIPHERDIR MOUNTPOINT`: shows a directory with names in clear, for reading. */
export const gocryptfs: Personality = {
  names: ['gocryptfs'],
  run: async (words) => {
    try {
      const call = readGocryptfsWords(words)
      return 'asks' in call ? answer(call.asks) : await run(call)
    } catch (error) {
      const { formatFailure } = await import('../print/failure.ts')
      const [exitCode, cause] = error instanceof Failure ? [error.exitCode, error.cause] : [EXIT.usage, error]
      process.stderr.write(formatFailure(cause))
      return exitCode
    }
  },
}

/** @returns the exit code. @throws Failure for what would write */
function answer(asked: string): number {
  if (asked === 'version') {
    process.stdout.write(`gocryptfs ${LIKE_VERSION} (atomfs-fuse ${packageJson.version})\n`)
    return 0
  }
  if (asked === 'help') {
    process.stdout.write(help(packageJson.version))
    return EXIT.usage
  }
  const wrong = `this gocryptfs only reads: -${asked} needs the program of gocryptfs itself`
  throw new Failure(asked === 'init' ? EXIT.init : EXIT.usage, new FsError('EOPNOTSUPP', wrong))
}

async function run(call: GocryptfsCall): Promise<number> {
  const [{ buildMountRequest, parseGocryptfsOptions }, { serve }, { sourceOfContainer }] = await Promise.all([
    import('../../request/index.ts'),
    import('../commands/mount.ts'),
    import('../../molecule/source.ts'),
  ])
  const { cipherDir, mountpoint: target, foreground, debug } = call
  const parsed = parseGocryptfsOptions(call.options)
  assertDirectory(cipherDir, EXIT.cipherDir)
  // A mount that the caller has made is no directory yet.
  if (!target.startsWith('/dev/fd/')) assertDirectory(target, EXIT.mountpoint)
  if (!parsed.options.showsOnly) await refuseWriting(cipherDir)
  const source = sourceOfContainer('gocryptfs', cipherDir)
  await findKeys(source, cipherDir, call)
  const request = buildMountRequest({ source, name: cipherDir, target, foreground, debug, parsed })
  try {
    return await serve(request, undefined, { ownGroup: true })
  } catch (error) {
    throw new Failure(EXIT.mount, error)
  }
}

function assertDirectory(path: PathText, exitCode: number): void {
  try {
    if (statSync(systemPath(path)).isDirectory()) return
  } catch (error) {
    // A mount whose process was killed: the next mount replaces it.
    if (exitCode === EXIT.mountpoint && codeOf(error) === 'ENOTCONN') return
    throw new Failure(exitCode, new FsError('ENOENT', `${path}: is no directory`, { cause: error }))
  }
  throw new Failure(exitCode, new FsError('ENOTDIR', `${path}: is no directory`))
}

/**
 * A caller that does not say `ro` means to write where the directory can be written: `apptainer build` makes its images so.
 * Squashfuse before Apptainer 1.3 has mounts that say that they can be written, so it is tried, with a file that has no name.
 */
async function refuseWriting(path: PathText): Promise<void> {
  const { assertWritable, openUnnamed, O_PATH } = await import('../../sys/files/at.ts')
  let folder: number | undefined
  try {
    folder = openSync(systemPath(path), O_PATH)
    assertWritable(folder)
    closeSync(openUnnamed(folder, 0o600))
  } catch {
    return
  } finally {
    if (folder !== undefined) closeSync(folder)
  }
  const wrong = `${path} can be written, and this gocryptfs only reads: give -ro`
  throw new Failure(EXIT.usage, new UsageError(wrong))
}

/** @throws Failure */
async function findKeys(source: NamedSource, cipherDir: PathText, call: GocryptfsCall): Promise<void> {
  const [{ lockedIn }, { GocryptfsPassword }, { unlock }] = await Promise.all([
    import('../../molecule/source.ts'),
    import('../keys/gocryptfs-password.ts'),
    import('../keys/unlock.ts'),
  ])
  let hasContent: boolean
  try {
    hasContent = lockedIn(source).length > 0
  } catch (error) {
    const isUnread = isErrno(error, 'ENOENT', 'EACCES', 'EPERM', 'ENOTDIR', 'ELOOP')
    throw new Failure(isUnread ? EXIT.openConfig : EXIT.loadConfig, error)
  }
  if (!hasContent) {
    const wrong = `${cipherDir}: has no encrypted file with content, and this gocryptfs only reads`
    throw new Failure(EXIT.cipherDir, new FsError('ENOENT', wrong))
  }
  const keys = new GocryptfsPassword(call.passFiles, call.passProgram)
  try {
    await readPassword(keys, cipherDir)
    await unlock([{ source }], {}, { keys })
  } catch (error) {
    throw error instanceof Failure ? error : new Failure(codeOfUnlock(error), error)
  } finally {
    keys.wipe()
  }
}

async function readPassword(
  keys: { passphrase(label: PathText): Promise<unknown> },
  label: PathText,
): Promise<void> {
  try {
    await keys.passphrase(label)
  } catch (error) {
    throw new Failure(EXIT.readPassword, error)
  }
}

function codeOfUnlock(error: unknown): number {
  if (isErrno(error, 'EKEYREJECTED')) return EXIT.wrongPassword
  if (isErrno(error, 'ENOMEM', 'ETIME')) return EXIT.scrypt
  return isErrno(error, 'EIO', 'EOPNOTSUPP') ? EXIT.loadConfig : EXIT.other
}

function help(ownVersion: string): string {
  return `gocryptfs ${LIKE_VERSION} (atomfs-fuse ${ownVersion})

Usage: gocryptfs [OPTIONS] CIPHERDIR MOUNTPOINT [-o COMMA-SEPARATED-OPTIONS]

Shows a directory that was made with -plaintextnames, for reading.

    -f  -fg                stay in the foreground
    -ro                    needed where CIPHERDIR can be written
    -passfile FILE         read the password from the first line of FILE
    -extpass PROGRAM       read the password from what PROGRAM prints
    -allow_other           allow access by other users
    -force_owner UID:GID   set file owner and group
    -idle DURATION         end the mount when it was idle so long (500s, 2h45m)
    -fsname NAME           name of the mount in mount tables
    -d  -debug             log each request
    -version               print version
`
}
