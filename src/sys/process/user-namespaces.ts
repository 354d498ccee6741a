import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { codeOf } from '../../base/index.ts'

/** A setting of the machine that keeps plain users from making user namespaces, or from using them. */
interface Limit {
  readonly path: string
  readonly closed: string
  readonly remedy: string
}

const LIMITS: readonly Limit[] = [
  {
    path: '/proc/sys/user/max_user_namespaces',
    closed: '0',
    remedy: 'no user namespace may be made (as root: sysctl user.max_user_namespaces=10000)',
  },
  {
    path: '/proc/sys/kernel/unprivileged_userns_clone',
    closed: '0',
    remedy: 'user namespaces are closed to plain users (as root: sysctl kernel.unprivileged_userns_clone=1)',
  },
  {
    path: '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
    closed: '1',
    remedy:
      'AppArmor takes the rights of user namespaces away (mount through fusermount3; or as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile with the rule "userns,")',
  },
]

/** One line for each limit in force: its effect, and how to lift it. */
export function userNamespaceLimits(
  read: (path: string) => string | undefined = readText,
): readonly string[] {
  return LIMITS.filter((limit) => read(limit.path)?.trim() === limit.closed).map((limit) => limit.remedy)
}

const TRIAL_TIMEOUT_MS = 5000

/**
 * Makes a user and a mount namespace for a moment: settings, cgroups and sandboxes may all forbid it.
 * @returns the reason why it failed, with the remedy where it is known; undefined where it works
 */
export function userNamespaceFailure(): string | undefined {
  const trial = spawnSync('unshare', ['-rm', 'true'], { timeout: TRIAL_TIMEOUT_MS, encoding: 'utf8' })
  if (trial.status === 0) return undefined
  const [limit] = userNamespaceLimits()
  if (limit !== undefined) return limit
  if (trial.error !== undefined) {
    const code = codeOf(trial.error)
    return code === 'ENOENT' ? 'no program unshare: install util-linux' : `unshare: ${code}`
  }
  const reason = trial.stderr.trim().split('\n').at(-1) ?? ''
  return `${reason}: a sandbox or a container forbids it (its seccomp profile)`
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
