import { closeSync } from 'node:fs'
import { duplicateDescriptor } from '../sys/files/descriptor.ts'
import type { StoredName } from './stored-name.ts'

/** Most bytes of one index that is held in memory. */
export const MEMORY_MAX = 256 << 20

/** Descriptors of indexes that no folder could take, by their names. They live as long as this process. */
const held = new Map<string, number>()

/** @param fd becomes the registry's */
export function holdInMemory({ algorithm, name }: Pick<StoredName, 'algorithm' | 'name'>, fd: number): void {
  const key = `${algorithm}/${name}`
  const before = held.get(key)
  if (before !== undefined) closeSync(before)
  held.set(key, fd)
}

/** @returns another descriptor of it, the caller's; undefined where there is none */
export function openHeld({ algorithm, name }: Pick<StoredName, 'algorithm' | 'name'>): number | undefined {
  const fd = held.get(`${algorithm}/${name}`)
  return fd === undefined ? undefined : duplicateDescriptor(fd)
}

/** All of them, to be handed to the process that serves: `ALGORITHM/NAME`, and its descriptor here. */
export function heldIndexes(): ReadonlyMap<string, number> {
  return held
}

/** Takes over what another process has made and handed on. @param descriptors open here, by the same names */
export function adoptIndexes(descriptors: Readonly<Record<string, number>>): void {
  for (const [key, fd] of Object.entries(descriptors)) held.set(key, fd)
}
