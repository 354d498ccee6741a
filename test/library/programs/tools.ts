import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeProgram32 } from './program-32.ts'

/** Things other than a program of that name that a test may need. */
const FACILITIES: Readonly<Record<string, { readonly present: () => boolean; readonly missing: string }>> = {
  root: { present: () => process.geteuid?.() === 0, missing: 'the rights of root' },
  fuse: { present: () => accessible('/dev/fuse'), missing: '/dev/fuse' },
  loop: { present: () => existsSync('/dev/loop-control') && isRoot(), missing: 'loop devices and root' },
  'kernel-squashfs': {
    present: () => isRoot() && kernelHas('squashfs'),
    missing: 'squashfs in the kernel and root',
  },
  'kernel-overlayfs': {
    present: () => isRoot() && kernelHas('overlay'),
    missing: 'overlayfs in the kernel and root',
  },
  'node-in-place': {
    present: () => ['/usr/bin/node', '/usr/local/bin/node'].some(isProgram),
    missing: '/usr/bin/node or /usr/local/bin/node',
  },
  'programs-32': { present: runsPrograms32, missing: 'a kernel of x86-64 that runs programs of 32 bits' },
  'userns-of-users': {
    present: plainUsersHaveNamespaces,
    missing: 'root, setpriv, and user namespaces that plain users may make',
  },
  userns: { present: () => existsSync('/proc/self/ns/user') && usernsAllowed(), missing: 'user namespaces' },
}

export interface Needs {
  readonly ok: boolean
  readonly missing: readonly string[]
  /** For the title of a skipped test: names what is missing. Empty where nothing is. */
  readonly reason: string
}

/**
 * Whether programs (by name) and facilities (`root`, `fuse`, `loop`, `kernel-squashfs`, `kernel-overlayfs`,
 * `userns`, `userns-of-users`, `node-in-place`, `programs-32`) are there. Use: `const need = needs('mksquashfs'); test.skipIf(!need.ok)(titled('packs', need), …)`.
 */
export function needs(...names: readonly string[]): Needs {
  const missing = names
    .filter((name) => !(FACILITIES[name]?.present() ?? findProgram(name) !== undefined))
    .map((name) => FACILITIES[name]?.missing ?? name)
  return {
    ok: missing.length === 0,
    missing,
    reason: missing.length === 0 ? '' : `needs ${missing.join(', ')}`,
  }
}

/** A test's title with the reason for which it is skipped, if it is. */
export function titled(title: string, need: Needs): string {
  return need.ok ? title : `${title} (skipped: ${need.reason})`
}

/** The path of a program in PATH or where the administrator's programs are. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/local/sbin']
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find(isProgram)
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

function isRoot(): boolean {
  return process.geteuid?.() === 0
}

function accessible(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Built in or loaded; or a module that mount(8) will load. */
function kernelHas(name: string): boolean {
  const listed = readFileSync('/proc/filesystems', 'utf8')
    .split('\n')
    .some((line) => line.trim().endsWith(name))
  if (listed) return true
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim()
  const modules = join('/lib/modules', release, 'modules.dep')
  return existsSync(modules) && readFileSync(modules, 'utf8').includes(`/${name}.ko`)
}

/** Tries it. */
function runsPrograms32(): boolean {
  if (process.arch !== 'x64') return false
  const folder = mkdtempSync(join(tmpdir(), 'atomfs-program-'))
  try {
    writeProgram32(join(folder, 'program'))
    return spawnSync(join(folder, 'program'), ['/'], { timeout: 20_000 }).status === 0
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function usernsAllowed(): boolean {
  const max = '/proc/sys/user/max_user_namespaces'
  const clone = '/proc/sys/kernel/unprivileged_userns_clone'
  if (existsSync(max) && readFileSync(max, 'utf8').trim() === '0') return false
  return isRoot() || !existsSync(clone) || readFileSync(clone, 'utf8').trim() !== '0'
}

/** Tries it: security modules may forbid it, or leave such a namespace without rights. */
function plainUsersHaveNamespaces(): boolean {
  const words = ['--reuid=1', '--regid=1', '--clear-groups', 'unshare', '-Urm', 'true']
  return isRoot() && spawnSync('setpriv', words, { timeout: 20_000 }).status === 0
}
