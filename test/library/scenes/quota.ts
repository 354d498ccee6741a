import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { needs, run, unmount } from '../index.ts'

/** File systems that count what is stored for somebody, and refuse what goes beyond a limit with EDQUOT. */

/** Who is counted where it is by user. Root with CAP_SYS_RESOURCE would be exempt from any limit. */
export const QUOTA_UID = 1000

export interface QuotaPlace {
  /** Counted, and empty: for the upper and the work directory. */
  readonly directory: string
  /** From now on so many bytes, and so many inodes where the kind counts them. */
  readonly limit: (bytes: number, inodes: number) => Promise<void>
  /** What was freed is taken off the account. */
  readonly settle: () => Promise<void>
}

export interface QuotaKind {
  readonly name: string
  /** By user: QUOTA_UID, or whoever `uid` of `withQuota` is. Otherwise everything in the directory counts. */
  readonly byUser: boolean
  readonly countsInodes: boolean
  readonly programs: readonly string[]
  /** @param target an empty directory to mount on. @param file for an image. Fails where the kernel cannot. */
  readonly make: (target: string, file: string, uid: number) => Promise<QuotaPlace>
}

const MEGABYTE = 2 ** 20
const nothing = (): Promise<void> => Promise.resolve()

async function makeImage(file: string, megabytes: number, ...mkfs: readonly string[]): Promise<void> {
  writeFileSync(file, '')
  truncateSync(file, megabytes * MEGABYTE)
  const [program = '', ...args] = mkfs
  await run(program, [...args, file])
}

const setquota =
  (target: string, flag: string, id: number) =>
  async (bytes: number, inodes: number): Promise<void> => {
    await run('setquota', [flag, `${id}`, '0', `${bytes / 1024}`, '0', `${inodes}`, target])
  }

const KINDS: readonly QuotaKind[] = [
  {
    name: 'ext4, by user',
    byUser: true,
    countsInodes: true,
    programs: ['mkfs.ext4', 'setquota'],
    make: async (target, file, uid) => {
      await makeImage(file, 64, 'mkfs.ext4', '-q', '-O', 'quota', '-E', 'quotatype=usrquota')
      await run('mount', ['-o', 'loop,usrquota', file, target])
      return { directory: target, limit: setquota(target, '-u', uid), settle: nothing }
    },
  },
  {
    name: 'ext4, by project',
    byUser: false,
    countsInodes: true,
    programs: ['mkfs.ext4', 'setquota', 'chattr'],
    make: async (target, file) => {
      await makeImage(file, 64, 'mkfs.ext4', '-q', '-O', 'quota,project', '-E', 'quotatype=prjquota')
      await run('mount', ['-o', 'loop,prjquota', file, target])
      const directory = join(target, 'project')
      mkdirSync(directory)
      await run('chattr', ['-p', '7', '+P', directory])
      return { directory, limit: setquota(target, '-P', 7), settle: nothing }
    },
  },
  {
    name: 'btrfs, by subvolume',
    byUser: false,
    countsInodes: false,
    programs: ['mkfs.btrfs', 'btrfs'],
    make: async (target, file) => {
      await makeImage(file, 256, 'mkfs.btrfs', '-q')
      await run('mount', ['-o', 'loop', file, target])
      const directory = join(target, 'volume')
      await run('btrfs', ['quota', 'enable', target])
      await run('btrfs', ['subvolume', 'create', directory])
      const settle = async (): Promise<void> => {
        await run('btrfs', ['filesystem', 'sync', target])
      }
      const limit = async (bytes: number): Promise<void> => {
        await run('btrfs', ['qgroup', 'limit', `${bytes}`, directory])
      }
      return { directory, limit, settle }
    },
  },
]

/** The place of a kind for the time of `use`, which finds it empty and belonging to `uid`. */
export async function withQuota<T>(
  kind: QuotaKind,
  uid: number,
  use: (place: QuotaPlace) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'atomfs-quota-'))
  const target = join(folder, 'fs')
  chmodSync(folder, 0o755)
  mkdirSync(target)
  try {
    const place = await kind.make(target, join(folder, 'image'), uid)
    chownSync(place.directory, uid, uid)
    return await use(place)
  } finally {
    await unmount(target)
    rmSync(folder, { recursive: true })
  }
}

/** Those that the kernel and the programs of this machine have. */
export async function workingKinds(): Promise<QuotaKind[]> {
  const working: QuotaKind[] = []
  for (const kind of KINDS) {
    if (!needs('root', 'loop', ...kind.programs).ok) continue
    const works = await withQuota(kind, 0, (place) => place.limit(MEGABYTE, 100)).then(
      () => true,
      () => false,
    )
    if (works) working.push(kind)
  }
  return working
}
