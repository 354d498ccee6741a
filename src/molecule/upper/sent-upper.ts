import { closeSync } from 'node:fs'
import type { PathText } from '../../base/index.ts'
import { replaceDescriptor } from '../../sys/files/descriptor.ts'
import { unlockFd } from '../../sys/files/lock.ts'
import type { UpperSpec } from '../spec.ts'
import { lockDirectory } from './lock.ts'
import type { OpenUpper } from './upper.ts'

/** An upper directory without its descriptors, as another process has opened it. */
export type UpperRecord = Omit<UpperSpec, 'upperFd' | 'work'> & { readonly workLabel?: PathText }

/** An open upper as a message can hold it: all but its descriptors. */
export function recordOf({ spec }: OpenUpper): UpperRecord {
  const { upperFd: _, work, ...rest } = spec
  return { ...rest, ...(work === undefined ? {} : { workLabel: work.label }) }
}

/** What `recordOf` leaves out. */
export function upperDescriptors({ spec: { upperFd, work } }: OpenUpper): readonly number[] {
  return work === undefined ? [upperFd] : [upperFd, work.fd]
}

/**
 * Goes on with an upper directory that another process has opened, which sent its descriptors. The locks become those of
 * this process, for messages of others: until now they name a process that ends.
 * @returns one whose `undo` removes nothing: that is for the other process
 * @throws HeldError
 */
export function adoptUpper(record: UpperRecord, upperFd: number, workFd: number | undefined): OpenUpper {
  const { workLabel, ...rest } = record
  const work = workLabel === undefined || workFd === undefined ? undefined : { label: workLabel, fd: workFd }
  const fds = work === undefined ? [upperFd] : [upperFd, work.fd]
  for (const fd of fds)
    takeOver(fd, `upper directory ${rest.label}`, work === undefined ? 'shared' : 'exclusive')
  const unlock = (): void => {
    for (const fd of fds) unlockFd(fd)
  }
  return {
    spec: { ...rest, upperFd, ...(work === undefined ? {} : { work }) },
    unlock,
    undo: unlock,
    letGo: (standIn) => {
      for (const fd of fds) replaceDescriptor(standIn, fd)
    },
    close: () => {
      for (const fd of fds) closeSync(fd)
    },
  }
}

/** A lock keeps the process that took it. An exclusive one that becomes a shared one and back is given to nobody who writes. */
function takeOver(fd: number, what: string, kind: 'shared' | 'exclusive'): void {
  if (kind === 'shared') unlockFd(fd)
  else lockDirectory(fd, what, 'shared')
  lockDirectory(fd, what, kind)
}
