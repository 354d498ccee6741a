import { spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { type ErrnoCode, FsError, type PathText, systemPath } from '../../base/index.ts'
import { openSocketPair } from '../events/socket-pair.ts'
import { receiveWithDescriptors } from '../events/unix-stream.ts'
import { SOCK_STREAM } from '../ffi/sockets.ts'
import { userNamespaceLimits } from '../process/user-namespaces.ts'

/** The outcome of one run of the helper. */
interface HelperResult {
  readonly program: string
  readonly exitCode: number | null
  /** Last line of its stderr, without the program's name. */
  readonly message: string
}

/** fusermount may wait for a lock on the mount table; after this time something is broken. */
const HELPER_TIMEOUT_MS = 20_000

/** Descriptor number of the socket's end in the helper. */
const COMM_FD = 3

/**
 * The helpers in the order of trial. Only running one shows whether it exists: the file is setuid and often not
 * readable, so a test for access would miss it.
 */
export function fusermountPrograms(environment: NodeJS.ProcessEnv = process.env): readonly string[] {
  const chosen = environment['FUSERMOUNT_PROG']
  return [...(chosen ? [chosen] : []), 'fusermount3', 'fusermount']
}

/**
 * Mounts through the setuid helper and receives the descriptor of the connection (libfuse's protocol: the helper sends
 * it with SCM_RIGHTS on the socket that `_FUSE_COMMFD` names).
 * @param options text after `-o`, already escaped
 * @throws FsError ENOENT where no helper is installed, else the reason that the helper gave
 */
export async function fusermountMount(target: PathText, options: string): Promise<number> {
  const [ours, theirs] = openSocketPair(SOCK_STREAM)
  let theirsOpen = true
  try {
    const result = await runHelper(['-o', options, '--', target], theirs)
    // Not earlier: while this process has the helper's end open, it would wait for ever for a helper that sends
    // nothing.
    closeSync(theirs)
    theirsOpen = false
    if (result.exitCode !== 0) throw helperError('mount', result)
    return receiveDescriptor(ours, result.program)
  } finally {
    closeSync(ours)
    if (theirsOpen) closeSync(theirs)
  }
}

/**
 * Unmounts through the helper, the only way for users without rights.
 * @throws FsError EBUSY while files are open and `lazy` is false
 */
export async function fusermountUnmount(target: PathText, lazy: boolean): Promise<void> {
  const result = await runHelper(['-u', ...(lazy ? ['-z'] : []), '--', target], undefined)
  if (result.exitCode !== 0) throw helperError('unmount', result)
}

/** The version line of the first helper that runs; undefined where none is installed. */
export async function fusermountVersion(): Promise<{ program: string; version: string } | undefined> {
  try {
    const result = await runHelper(['--version'], undefined)
    return { program: result.program, version: result.message }
  } catch {
    return undefined
  }
}

async function runHelper(args: readonly string[], commFd: number | undefined): Promise<HelperResult> {
  for (const program of fusermountPrograms()) {
    const result = await runProgram(program, args, commFd)
    if (result !== undefined) return result
  }
  throw new FsError(
    'ENOENT',
    `no fusermount3 found: install the package fuse3, or run as root or in a user namespace ('unshare -rm')${hint()}`,
  )
}

function hint(): string {
  const [limit] = userNamespaceLimits()
  return limit === undefined ? '' : `; but ${limit}`
}

/** @returns undefined where the program does not exist */
function runProgram(
  program: string,
  args: readonly string[],
  commFd: number | undefined,
): Promise<HelperResult | undefined> {
  return new Promise((resolve, reject) => {
    const [command, words] = withExactPath(program, args)
    const child = spawn(command, words, {
      stdio: ['ignore', 'pipe', 'pipe', commFd ?? 'ignore'],
      // The code below parses messages, so they must not be translated.
      env: {
        ...process.env,
        LC_ALL: 'C',
        ...(commFd === undefined ? {} : { _FUSE_COMMFD: String(COMM_FD) }),
      },
      timeout: HELPER_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    })
    let output = ''
    const collect = (chunk: Buffer): void => {
      if (output.length < 8192) output += chunk.toString()
    }
    child.stdout?.on('data', collect)
    child.stderr?.on('data', collect)
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') resolve(undefined)
      else
        reject(
          new FsError(
            'EACCES',
            `cannot run the fusermount program ${program}: ${error.code ?? error.message}`,
            { cause: error },
          ),
        )
    })
    child.on('close', (exitCode, signal) => {
      // The shell's exit code for a missing program (POSIX, "Exit Status for Commands").
      if (exitCode === 127 && command !== program) resolve(undefined)
      const line = output.trim().split('\n').at(-1) ?? ''
      const message = signal === null ? line.replace(/^\S*fusermount3?: /, '') : `killed by ${signal}`
      resolve({ program, exitCode, message })
    })
  })
}

/**
 * Node encodes the arguments of a program as UTF-8. Where the last one, a path, holds other bytes, a shell puts these
 * in.
 */
function withExactPath(program: string, args: readonly string[]): readonly [string, readonly string[]] {
  const exact = systemPath(args.at(-1) ?? '')
  if (typeof exact === 'string') return [program, args]
  const octal = [...exact].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')
  // The dot at the end keeps line ends, which the shell would otherwise remove.
  const script = `path=$(printf "$1.") && shift && exec "$@" "\${path%.}"`
  return ['/bin/sh', ['-c', script, 'sh', octal, program, ...args.slice(0, -1)]]
}

function helperError(verb: string, result: HelperResult): FsError {
  const reason = result.message || `exit code ${result.exitCode}`
  const remedy = REMEDIES.find(({ pattern }) => pattern.test(reason))?.remedy
  const text = `${result.program} could not ${verb}: ${reason}${remedy === undefined ? '' : `: ${remedy}`}`
  return new FsError(codeOfMessage(result.message), text)
}

/** Remedies for messages of the helper (libfuse, util/fusermount.c). */
const REMEDIES: readonly { readonly pattern: RegExp; readonly remedy: string }[] = [
  // The helper opens the device with the rights of its caller.
  { pattern: /open \/dev\/fuse: Permission/, remedy: "let users open it with 'chmod 0666 /dev/fuse'" },
  { pattern: /fuse device not found|\/dev\/fuse: No such/, remedy: `load FUSE as root with 'modprobe fuse'` },
  {
    pattern: /too many FUSE filesystems/i,
    remedy: "unmount some, or raise 'mount_max' in /etc/fuse.conf",
  },
  {
    pattern: /user_allow_other/,
    remedy: "leave allow_other out, or put 'user_allow_other' into /etc/fuse.conf",
  },
  {
    pattern: /mount failed: (?:Operation not permitted|Permission denied)|must be (?:suid|setuid)/i,
    remedy:
      "the helper has no root rights here: make it setuid root ('chmod u+s'), and allow setuid programs (no nosuid, no no_new_privs)",
  },
  { pattern: /no write access/, remedy: 'plain users can mount only on directories that they own' },
  { pattern: /mounting over filesystem type/, remedy: 'choose a target on a local disk or tmpfs' },
]

/** The helper gives its reason only as text. */
function codeOfMessage(message: string): ErrnoCode {
  if (/busy/i.test(message)) return 'EBUSY'
  if (/not found in \/etc\/mtab|not mounted|Invalid argument/i.test(message)) return 'EINVAL'
  if (/not connected/i.test(message)) return 'ENOTCONN'
  if (/No such file/i.test(message)) return 'ENOENT'
  if (/Permission denied|no write access|not owned/i.test(message)) return 'EACCES'
  return 'EPERM'
}

/** Receives the one descriptor in the socket. The helper has ended, so no more data comes. */
function receiveDescriptor(socket: number, program: string): number {
  const received = receiveWithDescriptors(socket, 8, 1, false)
  const [fd] = received?.descriptors ?? []
  if (fd !== undefined) return fd
  throw new FsError('EIO', `${program} ended without sending the descriptor of the mount`)
}
