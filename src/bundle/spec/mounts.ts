import { statSync } from 'node:fs'
import { posix } from 'node:path'
import { containsPath, type PathText, printable, systemPath, UsageError } from '../../base/index.ts'
import { realPath } from '../../sys/files/real-path.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { type MountInfo, readMountInfo } from '../../sys/mounts/mountinfo.ts'
import { type Caller, hasId } from './caller.ts'
import type { SpecMount } from './types.ts'

/** How a container is connected: as this machine is, or not at all. */
export type Network = 'host' | 'none'

/** Group of terminals on all distributions. */
const TTY_GROUP = 5

/** What every container has mounted (runtime-spec: config-linux.md, "Default Filesystems"). */
export function defaultMounts(caller: Caller, network: Network): readonly SpecMount[] {
  const tty = hasId(caller.gids, TTY_GROUP) ? [`gid=${TTY_GROUP}`] : []
  return [
    mount('/proc', 'proc', 'proc', ['nosuid', 'noexec', 'nodev']),
    mount('/dev', 'tmpfs', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/dev/pts', 'devpts', 'devpts', [
      ...['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      ...tty,
    ]),
    mount('/dev/shm', 'tmpfs', 'shm', ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k']),
    mount('/dev/mqueue', 'mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
    // sysfs shows the network devices of a namespace, and only the root of that one may mount it.
    caller.mode === 'root'
      ? mount('/sys', 'sysfs', 'sysfs', ['nosuid', 'noexec', 'nodev', 'ro'])
      : mount('/sys', 'none', '/sys', ['rbind', 'nosuid', 'noexec', 'nodev', 'ro']),
    ...(network === 'host' ? resolver() : []),
  ]
}

function mount(destination: string, type: string, source: string, options: readonly string[]): SpecMount {
  return { destination, type, source, options }
}

/** The name servers of this machine. */
function resolver(): readonly SpecMount[] {
  const path = '/etc/resolv.conf'
  try {
    statSync(path)
  } catch {
    return []
  }
  return [bindMount(path, path, true)]
}

/**
 * A file or directory of this machine in the container.
 * @param source absolute
 */
function bindMount(source: PathText, destination: string, readOnly: boolean): SpecMount {
  // A user namespace cannot take these flags off a mount of its parent: they have to be asked for again
  // (mount_namespaces(7), "locked").
  const locked = flagsAt(source)
  const options = [
    'rbind',
    ...(readOnly ? ['ro'] : []),
    ...locked.filter((flag) => flag !== 'ro' || !readOnly),
  ]
  // JSON is text.
  if (systemPath(source) !== source) {
    throw new UsageError(`mount of ${printable(source)}: config.json cannot name it, because it is no UTF-8`)
  }
  return mount(destination, 'none', source, options)
}

const LOCKED = ['ro', 'nosuid', 'nodev', 'noexec']

function flagsAt(path: PathText): readonly string[] {
  let best: MountInfo | undefined
  const real = realPath(path)
  for (const one of readMountInfo()) {
    if (!containsPath(one.mountPoint, real)) continue
    if (best === undefined || one.mountPoint.length >= best.mountPoint.length) best = one
  }
  return LOCKED.filter((flag) => best?.mountOptions.includes(flag))
}

/** Where an image keeps data that change: each is a file system of its own that begins with what the image has there. */
export function volumeMounts(volumes: readonly PathText[], size: number | undefined): readonly SpecMount[] {
  const destinations = new Set(volumes.map((path) => posix.resolve('/', path)))
  destinations.delete('/')
  const options = [
    'nosuid',
    'nodev',
    'noexec',
    'relatime',
    'tmpcopyup',
    ...(size === undefined ? [] : [`size=${size}`]),
  ]
  return [...destinations].sort().map((path) => mount(path, 'tmpfs', 'tmpfs', options))
}

/** What a caller wants mounted in the container. */
export interface WantedMount {
  readonly type: 'bind' | 'tmpfs'
  /** Of this machine; of a bind mount. */
  readonly source?: PathText
  /** Absolute, in the container. */
  readonly target: string
  readonly readOnly?: boolean
  /** Bytes; of a tmpfs. */
  readonly size?: number
}

/**
 * Reads `type=bind,source=PATH,target=PATH[,readonly]` and `type=tmpfs,target=PATH[,size=SIZE]`, the words of docker and
 * podman, and `SOURCE:TARGET[:ro]`.
 * @param sizeOf reads a size
 * @throws UsageError
 */
export function parseMount(text: string, sizeOf: (text: string) => number): WantedMount {
  const wrong = (what: string): UsageError => new UsageError(`--mount ${JSON.stringify(text)}: ${what}`)
  if (!/^(type|source|src|target|destination|dst)=/.test(text)) {
    const [source = '', target = '', access] = text.split(':')
    if (source === '' || !['ro', 'rw', undefined].includes(access)) {
      throw wrong('SOURCE:TARGET[:ro], or type=bind,source=SOURCE,target=TARGET[,readonly] is needed')
    }
    return { type: 'bind', source, target, readOnly: access === 'ro' }
  }
  const words = new Map<string, string>()
  for (const word of text.split(',')) {
    const equals = word.indexOf('=')
    const name = equals < 0 ? word : word.slice(0, equals)
    words.set(NAMES[name] ?? name, equals < 0 ? 'true' : word.slice(equals + 1))
  }
  const [type = 'bind', source, target = ''] = [words.get('type'), words.get('source'), words.get('target')]
  const [readOnly, size] = [words.get('readonly') ?? 'false', words.get('size')]
  const [unknown] = [...words.keys()].filter((name) => !KNOWN.includes(name))
  if (unknown !== undefined) throw wrong(`${unknown} is not known`)
  if (type !== 'bind' && type !== 'tmpfs') throw wrong('the type is bind or tmpfs')
  if (readOnly !== 'true' && readOnly !== 'false') throw wrong('readonly is true or false')
  if (type === 'tmpfs' && source !== undefined) throw wrong('a tmpfs has no source')
  if (type === 'bind' && size !== undefined) throw wrong('size is for a tmpfs')
  return {
    type,
    target,
    readOnly: readOnly === 'true',
    ...(source !== undefined && { source }),
    ...(size !== undefined && { size: sizeOf(size) }),
  }
}

const KNOWN: readonly string[] = ['type', 'source', 'target', 'readonly', 'size']
const NAMES: Readonly<Record<string, string>> = {
  ...{ src: 'source', dst: 'target', destination: 'target', ro: 'readonly', 'tmpfs-size': 'size' },
}

/** @throws UsageError for a place that is none; FsError ENOENT, EACCES for a source */
export function wantedMount({ type, source, target, readOnly = false, size }: WantedMount): SpecMount {
  if (!target.startsWith('/') || posix.resolve(target) === '/' || target.includes('\0')) {
    throw new UsageError(
      `mount on ${JSON.stringify(target)}: an absolute path below the root of the container is needed`,
    )
  }
  const destination = posix.resolve(target)
  if (type === 'tmpfs') {
    const options = [
      'nosuid',
      'nodev',
      ...(readOnly ? ['ro'] : []),
      ...(size === undefined ? [] : [`size=${size}`]),
    ]
    return mount(destination, 'tmpfs', 'tmpfs', options)
  }
  if (source === undefined || source === '')
    throw new UsageError(`mount on ${destination}: its source is missing`)
  const path = absolutePath(source)
  try {
    statSync(systemPath(path))
  } catch (error) {
    throw new UsageError(`mount of ${source}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`)
  }
  return bindMount(path, destination, readOnly)
}
