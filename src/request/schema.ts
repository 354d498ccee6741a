import * as v from 'valibot'
import { FsError, type NamedSource } from '../base/index.ts'
import type { Unlocked } from '../crypt/keys/keyring.ts'
import type { KernelOptions } from '../fuse/index.ts'
import {
  type ChangesPlace,
  type DirectoriesSource,
  knownContainers,
  type MountSource,
  type UpperOptions,
} from '../molecule/index.ts'
import type { MountOptions, MountRequest } from './request.ts'

/**
 * What the daemon accepts: the compiler compares it with `MountRequest`, and a test asks for each option. Unknown fields
 * are refused, because a command of another version means something by them.
 */

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const path = v.string()
const paths = v.array(path)

const LowersSchema: v.GenericSchema<unknown, DirectoriesSource> = v.strictObject({
  lowers: paths,
  followsRedirects: v.boolean(),
})

const NamedSchema = (): v.GenericSchema<unknown, NamedSource> =>
  v.strictObject({
    container: v.picklist(knownContainers().map(({ name }) => name)),
    path,
    tag: v.exactOptional(v.string()),
    digest: v.exactOptional(v.string()),
    offset: v.exactOptional(count),
    overlays: v.exactOptional(v.literal('none')),
  })

const SourceSchema: v.GenericSchema<unknown, MountSource> = v.lazy((source) =>
  typeof source === 'object' && source !== null && 'lowers' in source ? LowersSchema : NamedSchema(),
)

const ChangesSchema: v.GenericSchema<unknown, ChangesPlace> = v.variant('kind', [
  v.strictObject({ kind: v.literal('persist'), folder: path }),
  v.strictObject({ kind: v.literal('upper'), upper: path }),
  v.strictObject({ kind: v.literal('pair'), upper: path, work: v.optional(path) }),
  v.strictObject({ kind: v.literal('temporary') }),
  v.strictObject({ kind: v.literal('ext3'), image: v.optional(v.lazy(NamedSchema)) }),
])

const IdRuleSchema = v.union([
  count,
  v.array(v.strictObject({ stored: count, shown: count, count: v.pipe(count, v.minValue(1)) })),
])

const UpperSchema: v.GenericSchema<unknown, UpperOptions> = v.strictObject({
  fsync: v.picklist(['auto', 'strict', 'volatile']),
  volatileSign: v.boolean(),
  redirectDir: v.boolean(),
  recordOwners: v.optional(v.picklist(['never', 'security', 'user'])),
  markers: v.optional(v.picklist(['user', 'trusted'])),
  size: v.optional(count),
})

const KernelSchema: v.GenericSchema<unknown, KernelOptions> = v.strictObject({
  debug: v.boolean(),
  writeback: v.boolean(),
  copyUpAtOpen: v.boolean(),
  ino32: v.boolean(),
  countsOpens: v.boolean(),
})

const OptionsSchema: v.GenericSchema<unknown, MountOptions> = v.strictObject({
  allowOther: v.boolean(),
  defaultPermissions: v.boolean(),
  nosuid: v.boolean(),
  nodev: v.boolean(),
  noexec: v.boolean(),
  flags: v.array(
    v.picklist([
      ...(['sync', 'dirsync', 'nosymfollow', 'noatime', 'nodiratime'] as const),
      ...(['relatime', 'strictatime', 'lazytime'] as const),
    ]),
  ),
  uid: v.optional(IdRuleSchema),
  gid: v.optional(IdRuleSchema),
  subdir: v.optional(path),
  driver: v.picklist(['builtin', 'fuse-native']),
  cacheSize: count,
  workers: count,
  maxRead: v.optional(count),
  fsname: v.optional(path),
  context: v.optional(v.string()),
  notifyPipe: v.optional(path),
  idleTimeout: v.optional(count),
  showsOnly: v.boolean(),
  upper: UpperSchema,
  kernel: KernelSchema,
})

const keyed = {
  id: v.pipe(v.string(), v.length(64)),
  keySize: v.pipe(count, v.picklist([32, 64])),
}

const UnlockedSchema: v.GenericSchema<unknown, Unlocked> = v.variant('form', [
  v.strictObject({
    form: v.literal('luks2'),
    ...keyed,
    offset: count,
    size: count,
    sectorSize: v.picklist([512, 1024, 2048, 4096]),
    ivTweak: count,
  }),
  v.strictObject({
    form: v.literal('gocryptfs'),
    ...keyed,
    pieces: v.array(v.strictObject({ position: v.exactOptional(count), length: count })),
    fileId: v.pipe(v.string(), v.length(32)),
  }),
])

const RequestSchema: v.GenericSchema<unknown, MountRequest> = v.strictObject({
  source: SourceSchema,
  name: path,
  target: path,
  allowMissingVerity: v.boolean(),
  rootHash: v.optional(v.string()),
  verify: v.picklist(['auto', 'lazy', 'eager']),
  metadataDir: v.optional(path),
  foreground: v.boolean(),
  logLevel: v.picklist(['error', 'warn', 'info', 'debug']),
  log: v.optional(path),
  driverPath: v.optional(paths),
  readyFd: v.optional(count),
  indexes: v.optional(v.record(v.string(), path)),
  unlocked: v.optional(v.array(UnlockedSchema)),
  changes: v.optional(ChangesSchema),
  options: OptionsSchema,
})

/** Reads the JSON of a request. @throws FsError EINVAL in one line, for a bug or a command of another version */
export function decodeRequest(json: string): MountRequest {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (error) {
    throw misunderstood('is not JSON', error)
  }
  const result = v.safeParse(RequestSchema, value, { abortEarly: true })
  if (result.success) return result.output
  const [issue] = result.issues
  throw misunderstood(`${v.getDotPath(issue) ?? 'it'}: expected ${issue.expected}, got ${issue.received}`)
}

function misunderstood(what: string, cause?: unknown): FsError {
  return new FsError(
    'EINVAL',
    `the daemon does not understand the request of the command (${what}): are two versions of the program installed?`,
    { cause },
  )
}
