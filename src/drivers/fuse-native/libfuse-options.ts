import { FsError, printable } from '../../base/index.ts'
import { type FuseMountOptions, helperFlags, userMayAllowOther } from '../../sys/mounts/mount.ts'
import { FUSE_SUBTYPE } from '../../sys/mounts/mountinfo.ts'
import { effectiveUid, hasSysAdmin } from '../../sys/plain/rights.ts'

/**
 * Size of the package's buffers for the target and for the options, bytes, each with its NUL. The package cuts off
 * longer ones.
 */
const PACKAGE_BUFFER = 1024

/** Seconds. The image cannot change, so this is the longest time-out that the kernel can count. */
const FOREVER = 0x7fff_ffff

/** The command line for libfuse. @throws FsError ENAMETOOLONG for text that the package would cut off */
export function libfuseOptions(
  options: FuseMountOptions,
  isRoot: boolean = hasSysAdmin(),
): { readonly text: string; readonly warnings: readonly string[] } {
  const { target, fsname, nosuid, nodev, noexec, flags, allowOther, defaultPermissions, maxRead } = options
  const mayAllowOther = effectiveUid() === 0 || userMayAllowOther()
  const list = [
    'ro',
    // libfuse sets nosuid and nodev by default.
    ...(nosuid ? [] : ['suid']),
    ...(nodev ? [] : ['dev']),
    ...(noexec ? ['noexec'] : []),
    ...helperFlags(flags),
    ...(allowOther && mayAllowOther ? ['allow_other'] : []),
    ...(defaultPermissions ? ['default_permissions'] : []),
    ...(maxRead === undefined ? [] : [`max_read=${maxRead}`]),
    // The built-in driver also mounts over a directory with files. fusermount3 does not know the option.
    ...(isRoot ? ['nonempty'] : []),
    ...['use_ino', 'kernel_cache'],
    ...['entry_timeout', 'attr_timeout', 'negative_timeout'].map((name) => `${name}=${FOREVER}`),
    `subtype=${FUSE_SUBTYPE}`,
    `fsname=${printable(fsname).replace(/[\\,]/g, '\\$&')}`,
  ]
  const text = `-o${list.join(',')}`
  for (const [what, value] of Object.entries({ 'the target': target, 'the source (or fsname=)': text })) {
    if (Buffer.byteLength(value) < PACKAGE_BUFFER) continue
    throw new FsError('ENAMETOOLONG', `${what} is too long for driver=fuse-native`)
  }
  const warning = "allow_other is not in effect: put 'user_allow_other' into /etc/fuse.conf"
  return { text, warnings: allowOther && !mayAllowOther ? [warning] : [] }
}
