import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  ATOMFS_FUSE,
  addBusybox,
  archiveLayer,
  mksquashfs,
  Random,
  type RunOptions,
  type RunResult,
  run,
  writeOciLayout,
  writeTarImage,
} from '../index.ts'

/** Containers of an image, as each kind of caller runs them. */

export const MODES = ['root', 'namespace-one', 'namespace-many', 'user-one', 'user-many'] as const
export type CallerMode = (typeof MODES)[number]

/** A plain user who exists everywhere. */
const USER = { name: 'nobody', uid: 65_534, gid: 65_534 }

/** What lies beside the programs of busybox. */
const PASSWD = 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:App:/home/app:/bin/sh\n'
const GROUP = 'root:x:0:\napp:x:1000:\naudio:x:29:app\n'

export interface ContainerImage {
  /** SOURCE of it. */
  readonly source: string
  readonly folder: string
}

/** The same as an image of tar layers. @param ballast bytes of a file that does not compress, so that indexing takes some time */
export async function makeTarContainerImage(folder: string, ballast = 0): Promise<ContainerImage> {
  const tree = join(folder, 'tar-tree')
  makeTree(tree)
  if (ballast > 0) writeFileSync(join(tree, 'data/ballast'), new Random(1).bytes(ballast))
  const layout = join(folder, 'tar-layout')
  const config = { config: { Env: ['PATH=/bin'], Cmd: ['/bin/sh'] } }
  writeTarImage(layout, { tag: 'box', layers: [await archiveLayer(tree)], config })
  return { source: `${layout}:box`, folder }
}

/** Makes an image with a shell and two users. @param config of its program, as `config` of an image configuration */
export async function makeContainerImage(folder: string, config: object = {}): Promise<ContainerImage> {
  const tree = join(folder, 'tree')
  makeTree(tree)
  const file = await mksquashfs(tree, join(folder, 'layer.squashfs'))
  const layout = join(folder, 'layout')
  await writeOciLayout(layout, [
    {
      tag: 'box',
      layers: [{ file }],
      config: {
        os: 'linux',
        architecture: 'amd64',
        config: { Env: ['PATH=/bin'], Cmd: ['/bin/sh'], ...config },
      },
    },
  ])
  return { source: `${layout}:box`, folder }
}

function makeTree(tree: string): void {
  for (const path of ['etc', 'home/app', 'tmp', 'root', 'data'])
    mkdirSync(join(tree, path), { recursive: true })
  const programs = [
    'cat',
    'chmod',
    'dd',
    'df',
    'env',
    'hostname',
    'id',
    'kill',
    'ls',
    'mkdir',
    'mount',
    'ps',
    'pwd',
    'rm',
  ]
  addBusybox(
    tree,
    ...programs,
    ...['sleep', 'stat', 'stty', 'touch', 'tty', 'wc', 'echo', 'true', 'trap', 'cp', 'nproc'],
  )
  writeFileSync(join(tree, 'etc/passwd'), PASSWD)
  writeFileSync(join(tree, 'etc/group'), GROUP)
  writeFileSync(join(tree, 'data/there'), 'of the image\n')
  chmodSync(join(tree, 'tmp'), 0o1777)
  chownSync(join(tree, 'home/app'), 1000, 1000)
}

export interface CallerOptions extends RunOptions {
  /** Program that starts containers. */
  readonly runtime?: string
}

/**
 * Everything that the machine may lack or have otherwise, in a mount namespace of its own: a device for everybody, ids of
 * the user, and the kind of cgroups that crun wants. $1 the folder, $2 the mode, then the command
 */
const PRELUDE = `
set -e
folder=$1 mode=$2
shift 2
[ -e "$folder/fuse" ] || mknod -m 0666 "$folder/fuse" c 10 229
mount --bind "$folder/fuse" /dev/fuse
if [ -n "$CRUN_CGROUP" ]; then mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null || true; fi
many=; [ "\${mode%-many}" = "$mode" ] || many=1
for kind in subuid subgid; do
  if [ -n "$many" ]; then echo '${USER.name}:200000:65536'; else :; fi >"$folder/$kind"
  [ -e /etc/$kind ] || : >/etc/$kind
  mount --bind "$folder/$kind" /etc/$kind
done
if [ -n "$many" ]; then echo user_allow_other; else :; fi >"$folder/fuse.conf"
mount --bind "$folder/fuse.conf" /etc/fuse.conf
user='setpriv --reuid=${USER.uid} --regid=${USER.gid} --clear-groups --inh-caps=-all'
case $mode in
  root) exec "$@" ;;
  namespace-one) exec $user unshare -Urm "$@" ;;
  namespace-many) exec $user unshare -U --map-root-user --map-auto -m "$@" ;;
  user-*) exec $user "$@" ;;
esac`

/** Runs a program as a caller of that kind. Its runtime data and bundles lie in a folder of the image, by the mode. */
export function asCaller(
  { folder }: ContainerImage,
  mode: CallerMode,
  words: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const place = placeOf(folder, mode)
  return run(
    'unshare',
    ['-m', '--propagation', 'private', 'sh', '-c', PRELUDE, 'sh', folder, mode, ...words],
    {
      timeout: 60_000,
      cwd: place,
      ...options,
      env: {
        // crun wants cgroups of the second version, and runc those that the machine has.
        CRUN_CGROUP: words.includes('runc') ? '' : '1',
        HOME: place,
        TMPDIR: place,
        ATOMFS_TEST_RUN_DIR: join(place, 'run'),
        XDG_RUNTIME_DIR: place,
        ...options.env,
      },
    },
  )
}

/** The folder of a kind of callers: bundles of `run` lie in it. */
export function placeOf(folder: string, mode: CallerMode): string {
  const place = join(folder, mode)
  mkdirSync(place, { recursive: true })
  chmodSync(folder, 0o755)
  if (mode !== 'root') chownSync(place, USER.uid, USER.gid)
  return place
}

/** `atomfs-fuse run` of an image as a caller of that kind. */
export function runAs(
  image: ContainerImage,
  mode: CallerMode,
  words: readonly string[],
  { runtime = 'crun', ...options }: CallerOptions = {},
): Promise<RunResult> {
  const program = [ATOMFS_FUSE, 'run', '--allow-missing-verity', '--runtime', runtime]
  return asCaller(image, mode, [...program, image.source, ...words], options)
}
