import { posix } from 'node:path'
import { FsError, omitUndefined, UsageError } from '../../base/index.ts'
import { annotationsOf } from './annotations.ts'
import { type Caller, hasId } from './caller.ts'
import { environmentOf } from './environment.ts'
import type { RunConfig } from './image-config.ts'
import { cpuLimit } from './limits.ts'
import { defaultMounts, type Network, volumeMounts, type WantedMount, wantedMount } from './mounts.ts'
import type { RuntimeProcess, RuntimeSpec, SpecMount, SpecResources } from './types.ts'
import { type FoundUser, findUser, type ReadText } from './users.ts'

/** How a container differs from what its image says. */
export interface SpecOptions {
  /** In place of what the image says of its program. */
  readonly imageConfig?: RunConfig | undefined
  /** In place of the command of the image; its entry point stays. */
  readonly args?: readonly string[] | undefined
  /** In place of the entry point of the image; its command does not count then. Empty: none. */
  readonly entrypoint?: readonly string[] | undefined
  /** `NAME=VALUE`, or `NAME` for the caller's own value. */
  readonly env?: readonly string[] | undefined
  /** `USER[:GROUP]`. */
  readonly user?: string | undefined
  readonly workdir?: string | undefined
  readonly hostname?: string | undefined
  readonly terminal?: boolean | undefined
  /** Of the terminal: rows and columns. */
  readonly consoleSize?: RuntimeProcess['consoleSize'] | undefined
  /** By default none. */
  readonly network?: Network | undefined
  readonly mounts?: readonly WantedMount[] | undefined
  /** The container cannot change its root file system. */
  readonly readOnly?: boolean | undefined
  /** CPUs, such as `500m` or `1.5`. */
  readonly cpus?: string | undefined
  /** Bytes. */
  readonly memory?: number | undefined
  /** Bytes that each volume of the image may hold. */
  readonly size?: number | undefined
  /** False for a runtime that takes no groups from callers without root (runc). */
  readonly furtherGroups?: boolean | undefined
}

/** What of an image decides about a container. */
export interface ImageFacts {
  /** What the user calls the image, for messages. */
  readonly label: string
  readonly config: RunConfig
  /** Reads a file of the image, inside of it. */
  readonly read: ReadText
}

/** The version that both crun and runc of 2023 take. */
const VERSION = '1.0.2'

/** Those of podman: enough for package managers and servers, and nothing about devices, time or the network. */
const CAPABILITIES = [
  ...['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_FSETID', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'],
  ...['CAP_SETFCAP', 'CAP_SETGID', 'CAP_SETPCAP', 'CAP_SETUID', 'CAP_SYS_CHROOT'],
]

const MASKED_PATHS = [
  ...['/proc/acpi', '/proc/asound', '/proc/kcore', '/proc/keys', '/proc/latency_stats', '/proc/timer_list'],
  ...[
    '/proc/timer_stats',
    '/proc/sched_debug',
    '/proc/scsi',
    '/sys/firmware',
    '/sys/devices/virtual/powercap',
  ],
]

const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

/** Of one container; without a bound one could keep all others from starting processes. */
const MOST_PROCESSES = 32_768

/**
 * `config.json` for a container of an image, by the rules of image-spec (conversion.md), for what its caller may do.
 * @throws UsageError for options that make no sense or cannot be kept; FsError ENOENT for a user that the image has not,
 *   EINVAL for one that the caller cannot give
 */
export function runtimeSpec(facts: ImageFacts, caller: Caller, options: SpecOptions = {}): RuntimeSpec {
  const { imageConfig: config = facts.config } = options
  const image = { ...facts, config }
  const { network = 'none', readOnly = false } = options
  const annotations = annotationsOf(config)
  const mappings = caller.mappings
  const resources = resourcesOf(caller, options)
  return {
    ociVersion: VERSION,
    process: processOf(image, caller, options),
    root: { path: 'rootfs', readonly: readOnly },
    hostname: options.hostname ?? 'container',
    mounts: inOrder([
      ...defaultMounts(caller, network),
      ...volumeMounts(config.volumes, options.size),
      ...(options.mounts ?? []).map(wantedMount),
    ]),
    ...(Object.keys(annotations).length > 0 && { annotations }),
    linux: {
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount'],
        ...(network === 'none' ? ['network'] : []),
        ...(mappings === undefined ? [] : ['user']),
      ].map((type) => ({ type })),
      ...(mappings !== undefined && { uidMappings: mappings.uid, gidMappings: mappings.gid }),
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
      ...(resources !== undefined && { resources }),
    },
  }
}

/** The last mount on a place counts, and stands where the first one stood. */
function inOrder(mounts: readonly SpecMount[]): readonly SpecMount[] {
  return [...new Map(mounts.map((mount) => [mount.destination, mount])).values()]
}

function processOf(image: ImageFacts, caller: Caller, options: SpecOptions): RuntimeProcess {
  const { config, label } = image
  const { terminal = false } = options
  const user = userOf(image, caller, options)
  const { home, additionalGids, ...ids } = user
  const cwd = options.workdir ?? config.workingDir
  if (cwd.includes('\0')) throw new UsageError('the working directory contains a NUL character')
  const mayHaveGroups = caller.mode !== 'user-many' || options.furtherGroups !== false
  // Only root has them at once; others may get them through programs of the image, up to the bound.
  const effective = ids.uid === 0 ? CAPABILITIES : []
  return {
    terminal,
    ...(terminal && omitUndefined({ consoleSize: options.consoleSize })),
    user: { ...ids, ...(additionalGids !== undefined && mayHaveGroups && { additionalGids }) },
    args: argsOf(config, options, label),
    env: environmentOf(config.env, options.env ?? [], home, terminal),
    cwd: posix.resolve('/', cwd),
    capabilities: {
      bounding: CAPABILITIES,
      effective,
      permitted: effective,
      inheritable: [],
      ambient: [],
    },
    noNewPrivileges: true,
  }
}

function argsOf(config: RunConfig, { args, entrypoint }: SpecOptions, label: string): readonly string[] {
  const command = args ?? (entrypoint === undefined ? config.command : [])
  const words = [...(entrypoint ?? config.entrypoint), ...command]
  if (words.length === 0) {
    throw new UsageError(`${label}: the image does not say what to run: give a command behind --`)
  }
  if (words.some((word) => word.includes('\0'))) {
    throw new UsageError('the command contains a NUL character')
  }
  return words
}

/** @throws FsError EINVAL for a user that does not exist where the container runs */
function userOf({ config, read, label }: ImageFacts, caller: Caller, options: SpecOptions): FoundUser {
  const text = options.user ?? config.user
  const user = findUser(text, read, label)
  const further = user.additionalGids?.filter((gid) => hasId(caller.gids, gid)) ?? []
  if (!hasId(caller.uids, user.uid) || !hasId(caller.gids, user.gid)) {
    throw new FsError(
      'EINVAL',
      `${label}: its program is for user ${user.uid}:${user.gid}, ${MISSING[caller.mode]}`,
    )
  }
  const { additionalGids: _, ...rest } = user
  return further.length === 0 ? rest : { ...rest, additionalGids: further }
}

const ONE_ID = 'and there is only root, 0:0, with one id'
const MISSING: Readonly<Record<Caller['mode'], string>> = {
  root: 'which is no user',
  'namespace-one': `${ONE_ID}: say --user 0, or begin with a user namespace of more ids (unshare --map-auto)`,
  'namespace-many': 'who is not among the ids of this user namespace: say --user 0',
  'user-one':
    `${ONE_ID}: say --user 0, or let root give you subordinate ids (/etc/subuid, /etc/subgid, package uidmap) ` +
    'and put user_allow_other into /etc/fuse.conf',
  'user-many': 'who is not among your subordinate ids: say --user 0, or let root give you more',
}

/** @throws UsageError for a limit that nothing would keep */
function resourcesOf({ mode }: Caller, { cpus, memory }: SpecOptions): SpecResources | undefined {
  if (mode !== 'root') {
    const [name] = [memory === undefined ? [] : ['--memory'], cpus === undefined ? [] : ['--cpus']].flat()
    if (name === undefined) return undefined
    throw new UsageError(
      `${name}: limits are kept by cgroups, which only root of the machine has here: leave it out, or set it around ` +
        'this program (systemd-run --user --scope -p MemoryMax=…)',
    )
  }
  return {
    devices: [{ allow: false, access: 'rwm' }],
    pids: { limit: MOST_PROCESSES },
    ...(memory !== undefined && { memory: { limit: memory } }),
    ...(cpus !== undefined && { cpu: cpuLimit('--cpus', cpus) }),
  }
}
