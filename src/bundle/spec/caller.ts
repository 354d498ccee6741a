import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { userMayAllowOther } from '../../sys/mounts/mount.ts'
import { isInitialUserNamespace } from '../../sys/plain/namespaces.ts'
import { procPath } from '../../sys/plain/proc.ts'
import { effectiveGid, effectiveUid, hasSysAdmin } from '../../sys/plain/rights.ts'
import { programsNamed } from '../../sys/process/programs.ts'
import type { SpecMapping } from './types.ts'

/**
 * The five kinds of callers. What each may do decides about the options of the mount and about the configuration of the
 * container, which must agree: both come from one `Caller`.
 */
export type Mode =
  /** Root of the machine: no user namespace, and limits by cgroups. */
  | 'root'
  /** Root of a user namespace of one id, as `unshare -Ur` makes it. */
  | 'namespace-one'
  /** Root of a user namespace of many ids. */
  | 'namespace-many'
  /** A plain user: the container gets a user namespace with that user as its root, and no other id. */
  | 'user-one'
  /** A plain user with subordinate ids (subuid(5)), who may show mounts to them. */
  | 'user-many'

/** Some ids that follow each other. */
export interface IdSpan {
  readonly first: number
  readonly count: number
}

/** What may be done on behalf of the caller. */
export interface Caller {
  readonly mode: Mode
  /** Words of `-o` with which the root file system shows its owners as the container will see them. */
  readonly mountWords: readonly string[]
  /** Ids that exist in the container. */
  readonly uids: readonly IdSpan[]
  readonly gids: readonly IdSpan[]
  /** Of the user namespace that the container gets; absent where it gets none. */
  readonly mappings?: { readonly uid: readonly SpecMapping[]; readonly gid: readonly SpecMapping[] }
}

/** What a caller is found out from; a test says it. */
export interface CallerFacts {
  readonly uid: number
  readonly gid: number
  readonly isSysAdmin: boolean
  readonly isInitialNamespace: boolean
  /** Texts of `/proc/self/uid_map` and `gid_map`. */
  readonly uidMap: string
  readonly gidMap: string
  /** Of subuid(5), for this user; absent where nothing can map them. */
  readonly subordinate?: { readonly uid: IdSpan; readonly gid: IdSpan }
  readonly mayAllowOther: boolean
}

/** Ids beside the caller's own: 0 to 65535 together, as images use them. */
const SUBORDINATE_IDS = 65_535

const ALL: readonly IdSpan[] = [{ first: 0, count: 2 ** 32 - 1 }]
const ROOT_ALONE: readonly IdSpan[] = [{ first: 0, count: 1 }]

/** What the caller of this process may do. */
export function findCaller(): Caller {
  return callerOf(readFacts())
}

/** The mode that follows from facts. */
export function callerOf(facts: CallerFacts): Caller {
  const { uid, gid, isSysAdmin, isInitialNamespace, subordinate } = facts
  if (uid === 0 && isSysAdmin) {
    if (isInitialNamespace) return { mode: 'root', mountWords: [], uids: ALL, gids: ALL }
    const [uids, gids] = [spansOf(facts.uidMap), spansOf(facts.gidMap)]
    if (countOf(uids) > 1 && countOf(gids) > 1) return { mode: 'namespace-many', mountWords: [], uids, gids }
    return { mode: 'namespace-one', mountWords: ['uid=0', 'gid=0'], uids: ROOT_ALONE, gids: ROOT_ALONE }
  }
  if (subordinate !== undefined && facts.mayAllowOther) return manyIds(uid, gid, subordinate)
  return {
    mode: 'user-one',
    mountWords: [`uid=${uid}`, `gid=${gid}`],
    uids: ROOT_ALONE,
    gids: ROOT_ALONE,
    mappings: {
      uid: [{ containerID: 0, hostID: uid, size: 1 }],
      gid: [{ containerID: 0, hostID: gid, size: 1 }],
    },
  }
}

function manyIds(
  uid: number,
  gid: number,
  subordinate: { readonly uid: IdSpan; readonly gid: IdSpan },
): Caller {
  const map = (own: number, { first, count }: IdSpan): readonly SpecMapping[] => [
    { containerID: 0, hostID: own, size: 1 },
    { containerID: 1, hostID: first, size: Math.min(count, SUBORDINATE_IDS) },
  ]
  const mappings = { uid: map(uid, subordinate.uid), gid: map(gid, subordinate.gid) }
  const words = (list: readonly SpecMapping[]): string =>
    list.map(({ containerID, hostID, size }) => `${containerID}:${hostID}:${size}`).join(':')
  const spans = (list: readonly SpecMapping[]): readonly IdSpan[] =>
    list.map(({ containerID, size }) => ({ first: containerID, count: size }))
  return {
    mode: 'user-many',
    mountWords: ['allow_other', `uidmapping=${words(mappings.uid)}`, `gidmapping=${words(mappings.gid)}`],
    uids: spans(mappings.uid),
    gids: spans(mappings.gid),
    mappings,
  }
}

/** Whether an id exists. */
export function hasId(spans: readonly IdSpan[], id: number): boolean {
  return spans.some(({ first, count }) => id >= first && id < first + count)
}

function countOf(spans: readonly IdSpan[]): number {
  return spans.reduce((sum, { count }) => sum + count, 0)
}

/** The ids of a user namespace (user_namespaces(7)). */
function spansOf(map: string): readonly IdSpan[] {
  return map.split('\n').flatMap((line): IdSpan[] => {
    const [first, , count] = line.trim().split(/\s+/).map(Number)
    return first === undefined || count === undefined || !(count > 0) ? [] : [{ first, count }]
  })
}

function readFacts(): CallerFacts {
  const [uid, gid] = [effectiveUid(), effectiveGid()]
  const subordinate = mayMapSubordinateIds() ? subordinateIds(uid) : undefined
  return {
    uid,
    gid,
    isSysAdmin: hasSysAdmin(),
    isInitialNamespace: isInitialUserNamespace(),
    uidMap: readText(procPath('self/uid_map')),
    gidMap: readText(procPath('self/gid_map')),
    ...(subordinate !== undefined && { subordinate }),
    mayAllowOther: userMayAllowOther(),
  }
}

function subordinateIds(uid: number): CallerFacts['subordinate'] {
  const names = [String(uid), nameOfUser()]
  const find = (file: string): IdSpan | undefined => firstRange(readText(file), names)
  const ranges = { uid: find('/etc/subuid'), gid: find('/etc/subgid') }
  return ranges.uid === undefined || ranges.gid === undefined
    ? undefined
    : { uid: ranges.uid, gid: ranges.gid }
}

/** The largest range of a user. @param names the user's name and number: either may stand there */
export function firstRange(text: string, names: readonly string[]): IdSpan | undefined {
  return text
    .split('\n')
    .flatMap((line): IdSpan[] => {
      const [name = '', first = '', count = ''] = line.trim().split(':')
      const isRange = /^\d{1,10}$/.test(first) && /^[1-9]\d{0,9}$/.test(count)
      return names.includes(name) && isRange ? [{ first: Number(first), count: Number(count) }] : []
    })
    .sort((one, other) => other.count - one.count)[0]
}

function nameOfUser(): string {
  try {
    return userInfo().username
  } catch {
    // A user without an account.
    return ''
  }
}

/** Whether the helpers of uidmap(8) are here, which runtimes call. */
function mayMapSubordinateIds(): boolean {
  return ['newuidmap', 'newgidmap'].every((name) => findProgram(name) !== undefined)
}

/** Path of a program that PATH leads to. */
export function findProgram(name: string): string | undefined {
  return programsNamed(name)[0]
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
