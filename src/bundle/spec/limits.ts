import { UsageError } from '../../base/index.ts'
import type { CpuLimit } from './types.ts'

/** Suffixes of quantities as Kubernetes has them (apimachinery: pkg/api/resource/suffix.go). */
const FACTORS: Readonly<Record<string, number>> = {
  ...{ m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50 },
}

/** @throws UsageError for what is no quantity, is not above 0, or is above 2^53 */
export function parseQuantity(what: string, text: string): number {
  const [, number = '', suffix = ''] = /^(\d{1,16}(?:\.\d{1,9})?)([A-Za-z]{0,2})$/.exec(text) ?? []
  const factor = Object.hasOwn(FACTORS, suffix) ? FACTORS[suffix] : undefined
  const value = number === '' || factor === undefined ? Number.NaN : Number(number) * factor
  if (!(value > 0) || value > Number.MAX_SAFE_INTEGER) {
    throw new UsageError(
      `${what} ${JSON.stringify(text)}: a quantity is needed, such as 500m, 2, 64M or 1.5Gi`,
    )
  }
  return value
}

/** cgroups(7) of the first version take shares of 1024 a CPU, between these two (kernel/sched/sched.h). */
const SHARES = { oneCpu: 1024, least: 2, most: 262_144 }
/** Microseconds. */
const PERIOD = 100_000
/** Less is EINVAL in the kernel (kernel/sched/core.c:min_cfs_quota_period). */
const LEAST_QUOTA = 1000

/**
 * What a limit of CPUs is in a runtime specification: at most `cpus` of them, and a share of that weight where others
 * want them, too.
 * @param text CPUs, such as `500m` or `1.5`
 * @throws UsageError
 */
export function cpuLimit(what: string, text: string): CpuLimit {
  const cpus = parseQuantity(what, text)
  const shares = Math.min(Math.max(Math.floor(cpus * SHARES.oneCpu), SHARES.least), SHARES.most)
  return { shares, quota: Math.max(Math.floor(cpus * PERIOD), LEAST_QUOTA), period: PERIOD }
}

/** @param text bytes, such as `64M` or `1Gi`. @returns whole bytes. @throws UsageError */
export function byteLimit(what: string, text: string): number {
  return Math.ceil(parseQuantity(what, text))
}
