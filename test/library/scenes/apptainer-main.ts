import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { lstat, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { lastErrno } from '../../../src/sys/ffi/ffi.ts'
import { libcFunction } from '../../../src/sys/ffi/libc.ts'
import { readMountInfo } from '../../../src/sys/mounts/mountinfo.ts'
import type { Call, End, Report, Session } from './apptainer.ts'

/**
 * `SESSION`: plays Apptainer, or SingularityCE, as far as programs of FUSE see them (apptainer: imagedriver.go, cleanup_linux.go).
 * It makes the calls of the session, looks at each mount, and ends the mounts. Prints the processes when all are mounted,
 * then the reports as JSON.
 */

const MS_RDONLY = 1
const MS_NOSUID = 2
const MS_NODEV = 4
const MNT_DETACH = 2
const EBUSY = 16
/** Apptainer looks at the mounts every 25 ms, up to 10 s; here longer, for busy machines. */
const POLL_MS = 25
const PATIENCE_MS = 60_000
/** Of umount2(2) that is refused because the mount is in use. */
const RETRIES = 10

const mount = libcFunction(
  'int mount(const char *source, const char *target, const char *type, uint64_t flags, const char *data)',
)
const umount2 = libcFunction('int umount2(const char *target, int flags)')

const runProgram = promisify(execFile)

interface Running {
  readonly call: Call
  readonly child: ChildProcess
  readonly closed: Promise<unknown>
  readonly output: { stdout: string; stderr: string }
  readonly report: Omit<Report, 'exit' | 'stdout' | 'stderr' | 'endMs'>
}

const session = JSON.parse(process.argv[2] ?? '') as Session

function assertCall(name: string, result: unknown): void {
  if (result !== 0) throw new Error(`${name}: errno ${lastErrno()}`)
}

/** The connection of a mount that a program without rights is to serve. */
function mountForProgram({ target, readOnly, user }: Call): number {
  const fd = openSync('/dev/fuse', 'r+')
  const flags = MS_NOSUID | MS_NODEV | (readOnly ? MS_RDONLY : 0)
  const data = `fd=${fd},rootmode=40000,user_id=${user},group_id=${user},allow_other`
  assertCall(`mount ${target}`, mount('fuse', target, 'fuse', flags, data))
  return fd
}

function start(call: Call): ChildProcess {
  const passed = call.source === undefined ? [] : [openSync(call.source, 'r')]
  if (call.isMountedByCaller) passed.push(mountForProgram(call))
  const [command = '', ...words] = call.argv
  const child = spawn(command, words, {
    stdio: [call.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', ...passed],
    env: call.env ?? process.env,
  })
  child.stdin?.end(call.input)
  // Whoever has the connection open keeps the mount alive.
  for (const fd of passed) closeSync(fd)
  return child
}

const mountAt = (target: string) => readMountInfo().findLast(({ mountPoint }) => mountPoint === target)

/** @returns how often it looked, with the look that found the mount; 0 where the program has ended without one */
async function untilMounted({ target }: Call, child: ChildProcess): Promise<number> {
  for (let rounds = 1; rounds * POLL_MS < PATIENCE_MS; rounds++) {
    await sleep(POLL_MS)
    if (mountAt(target) !== undefined) return rounds
    if (child.exitCode !== null) return 0
  }
  throw new Error(`${target}: no mount`)
}

/** What the caller sees in a mount; nothing where there is none, or where it is dead. */
async function look(call: Call): Promise<Pick<Report, 'seen'>> {
  const { target } = call
  const mounted = mountAt(target)
  if (mounted === undefined) return {}
  const file = join(target, call.looksAt)
  try {
    const { uid, gid } = await lstat(file)
    const text = await readFile(file, 'utf8')
    const options = [...mounted.mountOptions, ...mounted.superOptions]
    return { seen: { owner: `${uid}:${gid}`, text, options, canWrite: await canWrite(call) } }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTCONN') return {}
    throw error
  }
}

/** Apptainer makes a temporary file in `usr/bin` of an overlay that should be writable. Root does it as the user. */
async function canWrite({ target, user }: Call): Promise<boolean> {
  const asUser =
    process.getuid?.() === user ? [] : ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups']
  const path = join(target, 'usr/bin/.tmp1')
  const [command = '', ...words] = [...asUser, 'sh', '-c', 'echo x >"$0" && rm "$0"', path]
  const written = runProgram(command, words, { timeout: PATIENCE_MS })
  return await written.then(
    () => true,
    () => false,
  )
}

async function begin(call: Call): Promise<Running> {
  const started = performance.now()
  const child = start(call)
  const output = { stdout: '', stderr: '' }
  child.stdout?.on('data', (text) => (output.stdout += text))
  child.stderr?.on('data', (text) => (output.stderr += text))
  const closed = once(child, 'close')
  if (!call.isInForeground) await closed
  const rounds = call.isInForeground && !call.isMountedByCaller ? await untilMounted(call, child) : 0
  const seen = await look(call)
  const readyMs = performance.now() - started
  const pid = child.pid ?? 0
  const group = call.isInForeground ? groupOf(pid) : 0
  return { call, child, closed, output, report: { pid, rounds, group, ...seen, readyMs } }
}

/** Of /proc/PID/stat, whose second field may hold spaces; 0 for a process that has ended. */
function groupOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')
    return Number(fields[2])
  } catch {
    return 0
  }
}

function unmount(target: string): void {
  for (let retries = 0; umount2(target, 0) !== 0; retries++) {
    if (lastErrno() !== EBUSY) throw new Error(`umount ${target}: errno ${lastErrno()}`)
    if (retries < RETRIES) continue
    assertCall(`umount -l ${target}`, umount2(target, MNT_DETACH))
    return
  }
}

async function endBy(end: End, { call, child, closed }: Running): Promise<void> {
  const { target } = call
  if (end === 'umount') unmount(target)
  else if (end === 'SIGTERM') child.kill('SIGTERM')
  else if (end === 'umount while in use, then SIGTERM') {
    const user = openSync(join(target, 'etc/motd'), 'r')
    unmount(target)
    child.kill('SIGTERM')
    await closed
    closeSync(user)
  } else {
    const words = end === 'fusermount -u' ? ['-u', target] : ['-z', '-u', target]
    await runProgram('fusermount3', words, { timeout: PATIENCE_MS })
  }
}

async function finish(running: Running): Promise<Report> {
  const { call, child, closed, output, report } = running
  const started = performance.now()
  if (mountAt(call.target) !== undefined) await endBy(call.end, running)
  await closed
  const { exitCode, signalCode } = child
  return { ...report, ...output, exit: signalCode ?? exitCode ?? -1, endMs: performance.now() - started }
}

const running: Running[] = []
if (session.isStack) for (const call of session.calls) running.push(await begin(call))
else running.push(...(await Promise.all(session.calls.map(begin))))
if (session.stays) {
  console.log(running.map(({ report }) => report.pid).join(' '))
  await sleep(PATIENCE_MS)
}
const reports: Report[] = []
if (session.isStack) for (const one of running.toReversed()) reports.unshift(await finish(one))
else reports.push(...(await Promise.all(running.map(finish))))
console.log(JSON.stringify(reports))
