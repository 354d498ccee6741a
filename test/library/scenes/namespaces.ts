import { chmodSync, chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ATOMFS_FUSE, type RunResult, run, withTempDir } from '../index.ts'

/** Root of a user namespace that somebody with the right to map ids has made, as engines for containers do. */

/** Ids from 0 on in the namespace are those from `first` on outside. */
export interface IdMap {
  readonly first: number
  readonly count: number
  /** The number that root of the machine has in the namespace, if any; above all others. */
  readonly root?: number
}

export const ID_RANGE: IdMap = { first: 200_000, count: 65_536 }
/** Nobody else is known in there. */
export const SINGLE_ID: IdMap = { first: 200_000, count: 1 }
/** As lxc-create runs a template for a container with an id map. */
export const WITH_OUTER_ROOT: IdMap = { ...ID_RANGE, root: 65_536 }

export interface NamespaceScene {
  /** Belongs to root of the namespace. */
  readonly folder: string
  /** In there, empty. */
  readonly target: string
  /**
   * `sh -ec SCRIPT ATOMFS_FUSE ARGS…`, with a mount namespace of its own, so that nothing stays mounted.
   * HOME is the folder.
   */
  readonly inside: (script: string, ...args: readonly string[]) => Promise<RunResult>
}

/** Whoever joins a namespace from outside has all rights in it. $1 device file, $2 map, $3 script */
const ENTER = `
set -e
[ -e "$1" ] || mknod -m 0666 "$1" c 10 229
mount --bind "$1" /dev/fuse
map=$2 script=$3
shift 3
unshare -U sleep 300 &
trap "kill $!" EXIT
until [ "$(readlink /proc/$!/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.02; done
echo "$map" | dd bs=4096 iflag=fullblock status=none of=/proc/$!/uid_map
echo "$map" | dd bs=4096 iflag=fullblock status=none of=/proc/$!/gid_map
nsenter -U -t $! --setuid 0 --setgid 0 unshare -m sh -ec "$script" "$0" "$@"`

export function inNamespace(ids: IdMap, use: (scene: NamespaceScene) => Promise<void>): Promise<void> {
  return withTempDir(async (temp) => {
    chmodSync(temp, 0o755)
    const folder = join(temp, 'inside')
    const target = join(folder, 'mnt')
    const runDir = join(folder, 'run')
    for (const path of [folder, target, runDir]) {
      mkdirSync(path)
      chownSync(path, ids.first, ids.first)
    }
    const inside = (script: string, ...args: readonly string[]): Promise<RunResult> => {
      const root = ids.root === undefined ? '' : `\n${ids.root} 0 1`
      const map = `0 ${ids.first} ${ids.count}${root}`
      return run(
        'unshare',
        ['-m', 'sh', '-c', ENTER, ATOMFS_FUSE, join(temp, 'fuse'), map, script, ...args],
        {
          cwd: folder,
          // The helper would be of the namespace outside.
          env: { ATOMFS_TEST_RUN_DIR: runDir, FUSERMOUNT_PROG: '/nonexistent', HOME: folder },
          timeout: 120_000,
        },
      )
    }
    await use({ folder, target, inside })
  })
}
