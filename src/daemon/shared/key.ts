import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { namespaceNumber } from '../../sys/plain/namespaces.ts'
import { procPath } from '../../sys/plain/proc.ts'
import { effectiveGid, effectiveUid } from '../../sys/plain/rights.ts'
import { programFile } from '../../threads.ts'

/** Of `/proc/PID/status`: who a process is, and what it may. */
const STATUS = ['Uid', 'Gid', 'Groups', 'CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp']

/** Of `/proc/PID/limits`: what a server may use for all. */
const LIMITS = ['Max file size', 'Max data size', 'Max processes', 'Max address space']

/** A server has some 35 descriptors, and seven for a mount. */
const LEAST_OPEN_FILES = 256

/** Where things are. */
const VARIABLES = ['HOME', 'TMPDIR', 'FUSERMOUNT_PROG', 'XDG_RUNTIME_DIR', 'XDG_CACHE_HOME', 'XDG_DATA_HOME']

/** Variables that programs of ours, or callers of fuse-overlayfs, set for a mount. */
const OURS = /^(?:ATOMFS|FUSE_OVERLAYFS)_/

/** Begins every program of the build: its digest. */
const HEAD_BYTES = 64

/**
 * What must be equal for all whose mounts one server serves: the build, the user and his rights, namespaces, the root
 * directory, and where things are. To be called before a process changes any of it.
 */
export function shareKey(): string {
  const root = statSync('/')
  const namespaces = (['user', 'mnt', 'pid'] as const).map((kind) => namespaceNumber(kind) ?? 0)
  const environment = Object.entries(process.env)
    .filter(([name]) => VARIABLES.includes(name) || (OURS.test(name) && name !== 'ATOMFS_SERVER'))
    .map(([name, value]) => `${name}=${value}`)
    .sort()
  return [
    ...[build(), effectiveUid(), effectiveGid(), ...namespaces, root.dev, root.ino],
    ...status(),
    ...limits(),
    ...[readText('self/attr/current'), unitOf(readText('self/cgroup')), ...environment],
  ].join('\n')
}

/** Whether a server of this process may open what a few mounts need: one that may not is of no use to others. */
export function mayServeOthers(): boolean {
  const most = Number(mostOpenFiles(limitLines()))
  // "unlimited", or nothing where /proc says nothing.
  return Number.isNaN(most) || most === 0 || most >= LEAST_OPEN_FILES
}

/** A short name for a key. Two keys may have the same: the server compares the keys themselves. */
export function sumOf(key: string): string {
  // FNV-1a twice, from different starts: loading a hash of the crypto module takes longer than the rest.
  let [a, b] = [0x811c9dc5, 0x1b873593]
  for (let i = 0; i < key.length; i++) {
    a = Math.imul(a ^ key.charCodeAt(i), 0x01000193)
    b = Math.imul(b ^ key.charCodeAt(i), 0x85ebca6b)
  }
  return [a, b].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('')
}

/**
 * A service manager ends all processes of such a unit together, so the server of one must not be that of another; of other
 * groups (sessions, scopes, containers) it ends those that are left only on request.
 */
function unitOf(cgroup: string): string {
  const path = /^0::(.*)$/m.exec(cgroup)?.[1] ?? /^\d+:name=systemd:(.*)$/m.exec(cgroup)?.[1] ?? ''
  return /\.(?:service|mount)$/.test(path) ? path : ''
}

function status(): readonly string[] {
  const lines = readText('self/status').split('\n')
  return lines.filter((line) => STATUS.includes(line.slice(0, line.indexOf(':'))))
}

function limitLines(): readonly string[] {
  return readText('self/limits').split('\n')
}

function limits(): readonly string[] {
  const lines = limitLines()
  const equal = lines.filter((line) => LIMITS.includes(line.slice(0, 25).trimEnd()))
  return [...equal, mostOpenFiles(lines)]
}

/** The lower limit of open files becomes the higher one: Node and the server raise it. */
function mostOpenFiles(lines: readonly string[]): string {
  // The kernel writes columns (fs/proc/base.c:proc_pid_limits).
  return (lines.find((line) => line.startsWith('Max open files')) ?? '').slice(47, 67).trimEnd()
}

function build(): string {
  const { file, words } = programFile('mount')
  const path = fileURLToPath(file)
  const fd = openSync(words.length === 0 ? path : path.replace(/[^/]*$/, `${words[0]}.cjs`), 'r')
  try {
    const head = Buffer.alloc(HEAD_BYTES)
    readSync(fd, head)
    return head.toString('latin1')
  } finally {
    closeSync(fd)
  }
}

function readText(path: string): string {
  try {
    return readFileSync(procPath(path), 'latin1')
  } catch {
    return ''
  }
}
