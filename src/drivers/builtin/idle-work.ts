import type { DeviceLoopOptions } from '../../fuse/index.ts'

/** Work for moments without requests. */
export type IdleWork = NonNullable<DeviceLoopOptions['idleWork']>

/** Pieces of idle work one after another. @returns undefined where there are none */
export function inTurn(...works: readonly (IdleWork | undefined)[]): IdleWork | undefined {
  const left = works.filter((work) => work !== undefined)
  if (left.length === 0) return undefined
  return () => {
    const more = left[0]?.() ?? false
    if (more === 'later') return more
    if (!more) left.shift()
    return left.length > 0
  }
}
