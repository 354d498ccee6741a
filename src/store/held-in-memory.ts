import { closeSync } from 'node:fs'
import type { PathText } from '../base/index.ts'
import { duplicateDescriptor } from '../sys/files/descriptor.ts'
import { descriptorOf } from '../sys/plain/proc.ts'
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

/** All of them, to be handed to the process that serves: `ALGORITHM/NAME`, and the path of a descriptor. */
export function heldIndexes(): Readonly<Record<string, PathText>> {
  return Object.fromEntries([...held].map(([key, fd]) => [key, `/dev/fd/${fd}`]))
}

/** Takes over what another process has made and handed on. @param indexes as `heldIndexes` gives them, open here */
export function adoptIndexes(indexes: Readonly<Record<string, PathText>>): void {
  for (const [key, path] of Object.entries(indexes)) {
    const fd = descriptorOf(path)
    if (fd !== undefined) held.set(key, fd)
  }
}
