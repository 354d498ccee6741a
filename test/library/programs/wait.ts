import { readFileSync } from 'node:fs'

/** @returns how long it took, ms. @throws Error that says what it waited for */
export async function until(condition: () => boolean, what: string, timeout = 20_000): Promise<number> {
  const start = performance.now()
  while (!condition()) {
    if (performance.now() - start > timeout) throw new Error(`waited ${timeout} ms for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  return performance.now() - start
}

/** Whether a process has ended. A zombie has: its parent may take its time. */
export function isGone(pid: number): boolean {
  try {
    return /^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return true
  }
}
