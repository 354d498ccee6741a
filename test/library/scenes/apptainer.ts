import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { S_IFCHR } from '../../../src/base/index.ts'
import { mke2fs } from '../images/ext.ts'
import { ATOMFS_FUSE, bundleProgram, mksquashfs, run } from '../index.ts'
import { makeNode } from '../programs/native.ts'

/** Who calls squashfuse, squashfuse_ll, fuse2fs and fuse-overlayfs as Apptainer and SingularityCE do, and what they see. */

/** Has a name (fusermount3 asks for it) and no rights. */
export const USER = 1
/** Of the files in the image. */
export const OWNERS = '7:8'
/** Where the image lies in its file. */
export const OFFSET = 8192

export type End =
  | 'umount'
  | 'SIGTERM'
  | 'umount while in use, then SIGTERM'
  | 'fusermount -u'
  | 'fusermount -z -u'

/** One call of a program. */
export interface Call {
  readonly argv: readonly string[]
  /** All of its environment, where the caller does not pass on its own. */
  readonly env?: Readonly<Record<string, string>>
  /** The caller passes it as descriptor 3. */
  readonly source?: string
  readonly target: string
  /** What the caller writes to standard input; absent: that is /dev/null. */
  readonly input?: string
  /** The file below the target that the caller reads. */
  readonly looksAt: string
  /** The caller mounts and passes the connection as the next descriptor; else the program mounts. */
  readonly isMountedByCaller: boolean
  readonly user: number
  readonly readOnly: boolean
  /** Else the caller waits for the end of the program, and there is a mount by then. */
  readonly isInForeground: boolean
  readonly end: End
}

export interface Session {
  readonly calls: readonly Call[]
  /** Each mount needs the one before: they are made one after the other, and end in reverse order. */
  readonly isStack?: boolean
  /** The caller prints the numbers of the processes and waits, until somebody kills it. */
  readonly stays?: boolean
}

export interface Seen {
  readonly owner: string
  readonly text: string
  /** Of the mount and of its file system (proc_pid_mountinfo(5)). */
  readonly options: readonly string[]
  /** Whether the user can make a file in there. */
  readonly canWrite: boolean
}

export interface Report {
  readonly pid: number
  /** Of processes, while the program ran in the foreground. */
  readonly group: number
  /** How many looks at mountinfo, 25 ms apart, it took; 0 where the caller did not look or there was no mount. */
  readonly rounds: number
  /** Absent where there was no mount, or a dead one. */
  readonly seen?: Seen
  readonly readyMs: number
  /** Exit code, or the signal that ended it. */
  readonly exit: number | string
  readonly stdout: string
  readonly stderr: string
  readonly endMs: number
}

/** CAP_SYS_ADMIN and CAP_SYS_PTRACE until 1.2, with CAP_DAC_OVERRIDE since 1.3.0. */
const RIGHTS_1_1 = '+sys_admin,+sys_ptrace'
const RIGHTS_1_3 = `${RIGHTS_1_1},+dac_override`
const ambient = (rights: string) => ['setpriv', `--inh-caps=-all,${rights}`, `--ambient-caps=-all,${rights}`]
const WITHOUT_RIGHTS = ['setpriv', '--inh-caps=-all', '--bounding-set=-all']

const asUser = (...more: string[]) => [
  'setpriv',
  `--reuid=${USER}`,
  `--regid=${USER}`,
  '--clear-groups',
  ...more,
]

/** How a caller comes to its rights, and what it starts programs with. */
export const CALLERS = {
  /** `apptainer exec` without setuid: a user namespace in which the user keeps the own number. */
  'a user namespace': {
    user: USER,
    enter: asUser('unshare', '-Um', '--map-current-user', '--keep-caps'),
    start: ambient(RIGHTS_1_3),
  },
  'a user namespace, until 1.2': {
    user: USER,
    enter: asUser('unshare', '-Um', '--map-current-user', '--keep-caps'),
    start: ambient(RIGHTS_1_1),
  },
  /** `--fakeroot`. */
  'root of a user namespace': {
    user: 0,
    enter: asUser('unshare', '-Urm'),
    start: ambient(RIGHTS_1_3),
  },
  'a plain user with ambient capabilities': {
    user: USER,
    enter: asUser(`--inh-caps=${RIGHTS_1_3}`, `--ambient-caps=${RIGHTS_1_3}`),
    start: ambient(RIGHTS_1_3),
  },
  /** The setuid program: root mounts, and the program has the user's rights and no others. */
  'the setuid program': { user: USER, enter: [], start: asUser(...WITHOUT_RIGHTS.slice(1)) },
  /** The same, where the program keeps capabilities. */
  'the setuid program, with ambient capabilities': {
    user: USER,
    enter: [],
    start: asUser(...ambient(RIGHTS_1_3).slice(1)),
  },
  /** `--fakeroot` by the setuid program: `nsenter --user -F` stands in front of the program. */
  'the setuid program, into a user namespace': { user: USER, enter: [], start: asUser('unshare', '-Ur') },
  'a plain user': { user: USER, enter: asUser(), start: [] },
  root: { user: 0, enter: [], start: [] },
} as const satisfies Record<
  string,
  { readonly user: number; readonly enter: readonly string[]; readonly start: readonly string[] }
>
export type CallerName = keyof typeof CALLERS
/** Those for whom plain users have to have user namespaces. */
export const needsNamespaces = (caller: CallerName): boolean => caller.includes('user namespace')

export interface ApptainerImage {
  /** Belongs to the test; everybody can read what lies there. */
  readonly folder: string
  /** An image alone in its file, with `etc/motd` ("hello") and `usr/bin`. */
  readonly image: string
  /** The same at `OFFSET`, as in a SIF. */
  readonly sif: string
  /** Has a magic and is cut off. */
  readonly cut: string
  /** The same tree as an ext3 file system alone in its file, and at `OFFSET`. */
  readonly ext3: string
  readonly ext3Sif: string
  /** A FUSE device for everybody, also where that of the machine is for root. */
  readonly device: string
  /** Links to the program by its names. */
  readonly links: string
}

export async function makeApptainerImage(folder: string): Promise<ApptainerImage> {
  mkdirSync(folder, { recursive: true })
  chmodSync(folder, 0o755)
  const tree = join(folder, 'tree')
  for (const path of ['etc', 'usr/bin']) mkdirSync(join(tree, path), { recursive: true })
  writeFileSync(join(tree, 'etc/motd'), 'hello\n')
  const owners = OWNERS.split(':')
  const extra = ['-force-uid', owners[0] ?? '', '-force-gid', owners[1] ?? '']
  const image = await mksquashfs(tree, join(folder, 'image.sqfs'), { extra })
  const bytes = readFileSync(image)
  const sif = join(folder, 'image.sif')
  writeFileSync(sif, Buffer.concat([Buffer.alloc(OFFSET, 's'), bytes]))
  await run('chown', ['-R', OWNERS, tree])
  const ext3 = await mke2fs(join(folder, 'image.ext3'), { options: '-t ext3', megabytes: 8, from: tree })
  const ext3Sif = join(folder, 'ext3.sif')
  writeFileSync(ext3Sif, Buffer.concat([Buffer.alloc(OFFSET, 's'), readFileSync(ext3)]))
  const cut = join(folder, 'cut.sif')
  writeFileSync(cut, Buffer.concat([Buffer.alloc(OFFSET, 's'), bytes.subarray(0, 100)]))
  const device = join(folder, 'fuse')
  makeNode(Buffer.from(device), S_IFCHR | 0o666, 10, 229)
  chmodSync(device, 0o666)
  const links = join(folder, 'links')
  mkdirSync(links)
  await run(ATOMFS_FUSE, ['install-links', '--apptainer', links])
  return { folder, image, sif, cut, ext3, ext3Sif, device, links }
}

/** A caller with a folder of its own, which belongs to whom the programs run as. */
export interface Place {
  readonly folder: string
  readonly runDir: string
  readonly caller: CallerName
  readonly images: ApptainerImage
}

export function makePlace(folder: string, caller: CallerName, images: ApptainerImage): Place {
  chmodSync(folder, 0o755)
  const runDir = join(folder, 'run')
  mkdirSync(runDir)
  const owner = caller === 'root' ? 0 : USER
  for (const path of [folder, runDir]) chownSync(path, owner, owner)
  return { folder, runDir, caller, images }
}

/** What stands for Apptainer's session folder, and a sandbox. */
const FOLDERS = [
  'session/rootfs',
  'session/final',
  'session/gocryptfs/cipher',
  'session/gocryptfs/plain',
  'session/overlay-lowerdir/etc',
  'session/overlay-images/0/upper',
  'session/overlay-images/0/work',
  'session/overlay-images/1/upper',
  'sandbox/etc',
  'sandbox/usr/bin',
]
let count = 0

/** What a line of the table says beside its words. */
export interface CallOptions {
  readonly end?: End | undefined
  /** The environment has the offset, and a library that adds it, and nothing else. */
  readonly isPreloaded?: boolean | undefined
  /** The image is cut off. */
  readonly isBroken?: boolean
  /** Makes the calls of one session share their folders. */
  readonly in?: string
  /** The file that is passed, instead of one of the images. */
  readonly source?: string
  /** Where the caller mounts, below the session folder; else it is the folder of the root, or of the final overlay. */
  readonly target?: string
  readonly input?: string
  readonly looksAt?: string
}

/**
 * A call by its command line, with folders of its own. `$U` is the number of the user, `$N` the offset, `$T` the target,
 * `$S` the session folder, `$SANDBOX` a tree, `$IMAGE`, `$SIF`, `$EXT` and `$EXTSIF` files; `''` is an empty word.
 * `/proc/self/fd/3` is the file where the image begins at the offset, if the line or the environment has that, else the
 * image alone.
 */
export function callOf(line: string, place: Place, options: CallOptions = {}): Call {
  const { images } = place
  const { user, start } = CALLERS[place.caller]
  const folder = join(place.folder, options.in ?? `${++count}`)
  makeFolders(folder)
  const session = join(folder, 'session')
  const own = join(session, options.target ?? (line.startsWith('fuse-overlayfs') ? 'final' : 'rootfs'))
  const values: Readonly<Record<string, string>> = {
    U: `${user}`,
    N: `${OFFSET}`,
    T: own,
    S: session,
    SANDBOX: join(folder, 'sandbox'),
    IMAGE: images.image,
    SIF: images.sif,
    EXT: images.ext3,
    EXTSIF: images.ext3Sif,
  }
  const [, before = '', rest = line] = /^(stdbuf -oL )?(.*)$/.exec(line) ?? []
  const [name = '', ...words] = rest
    .split(' ')
    .map((word) =>
      word === "''" ? '' : word.replaceAll(/\$([A-Z]+)/g, (_, key: string) => values[key] ?? ''),
    )
  const last = words.at(-1) ?? ''
  const isMountedByCaller = last.startsWith('/dev/fd/')
  const isInForeground = words.includes('-f') || words.includes('-fg')
  const isAtOffset = line.includes('$N') || options.isPreloaded === true
  const [alone, within] = name === 'fuse2fs' ? [images.ext3, images.ext3Sif] : [images.image, images.sif]
  const source = options.source ?? (options.isBroken ? images.cut : isAtOffset ? within : alone)
  return {
    argv: [...start, ...before.split(' ').filter(Boolean), join(images.links, name), ...words],
    ...(options.isPreloaded === true ? { env: preloaded(place) } : {}),
    ...(words.includes('/proc/self/fd/3') ? { source } : {}),
    target: isMountedByCaller ? own : last,
    ...(options.input === undefined ? {} : { input: options.input }),
    looksAt: options.looksAt ?? 'etc/motd',
    isMountedByCaller,
    user,
    readOnly: /[ ,]ro[ ,]/.test(line) || name === 'gocryptfs',
    isInForeground,
    end: options.end ?? 'umount',
  }
}

/** As Apptainer's offsetpreload has it; any library stands for it, because it must not be there when reads are made. */
function preloaded({ runDir }: Place): Readonly<Record<string, string>> {
  const libraries = ['x86_64', 'aarch64'].map((machine) => `/lib/${machine}-linux-gnu/libm.so.6`)
  const library = libraries.find((path) => existsSync(path))
  return {
    ATOMFS_TEST_RUN_DIR: runDir,
    OFFSETPRELOAD_FILE: '/proc/self/fd/3',
    OFFSETPRELOAD_OFFSET: `${OFFSET}`,
    ...(library === undefined ? {} : { LD_PRELOAD: library }),
  }
}

function makeFolders(folder: string): void {
  if (existsSync(folder)) return
  for (const path of FOLDERS) mkdirSync(join(folder, path), { recursive: true })
  writeFileSync(join(folder, 'sandbox/etc/motd'), 'hello\n')
  const { uid, gid } = statSync(dirname(folder))
  execFileSync('chown', ['-R', `${uid}:${gid}`, folder], { timeout: 20_000 })
}

/** Words before those of a program in a mount namespace of its own, where everybody may open the device. */
export function withDevice({ device }: ApptainerImage): readonly string[] {
  return ['unshare', '-m', 'sh', '-c', 'mount --bind "$0" /dev/fuse && exec "$@"', device]
}

/** Starts the caller in a mount namespace of its own. */
export async function startCaller(place: Place, session: Session): Promise<ChildProcess> {
  const program = await bundleProgram(fileURLToPath(new URL('apptainer-main.ts', import.meta.url)))
  const { enter } = CALLERS[place.caller]
  const [command = '', ...before] = withDevice(place.images)
  const words = [...before, ...enter, process.execPath, program, JSON.stringify(session)]
  return spawn(command, words, {
    cwd: place.folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C', ATOMFS_TEST_RUN_DIR: place.runDir, HOME: place.folder },
  })
}

/** Plays a session to its end. @throws Error with what the caller says, or where it takes too long */
export async function play(place: Place, session: Session): Promise<readonly Report[]> {
  const child = await startCaller(place, session)
  const output = { stdout: '', stderr: '' }
  child.stdout?.on('data', (text) => (output.stdout += text))
  child.stderr?.on('data', (text) => (output.stderr += text))
  const timer = setTimeout(() => child.kill('SIGKILL'), 120_000)
  const [code, signal] = await once(child, 'close')
  clearTimeout(timer)
  if (code !== 0) throw new Error(`the caller: ${signal ?? `status ${code}`}: ${output.stderr}`)
  return JSON.parse(output.stdout.trim().split('\n').at(-1) ?? '') as Report[]
}
