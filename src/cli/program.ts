import { Command, CommanderError } from 'commander'
import packageJson from '../../package.json' with { type: 'json' }
import type { DaemonProcess } from '../daemon/client/spawn.ts'
import { explain } from '../daemon/life/failure.ts'
import type { InspectFlags } from './commands/inspect.ts'
import type { MountFlags } from './commands/mount.ts'
import type { OverlayFlags } from './commands/overlay.ts'
import type { StatusFlags } from './commands/status.ts'
import type { UmountFlags } from './commands/umount.ts'
import type { VerifyFlags } from './commands/verify.ts'
import { FUSE_OVERLAYFS, fuseOverlayfsVersion } from './personality.ts'
import { formatLines } from './print/format.ts'

/**
 * Runs one command.
 * @param early the process for a mount in the background, where one was started already
 * @returns the exit code; errors become one line `Error: ...` on stderr and exit code 1
 */
export async function run(args: readonly string[], name: string, early?: DaemonProcess): Promise<number> {
  let exitCode = 0
  const setExitCode = (code: number): void => {
    exitCode = code
  }
  const program = buildProgram(name, setExitCode, early)
  try {
    if (args.length === 0) throw new Error(`no command given: try '${name} --help'`)
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    // Help and version come as errors too, with exit code 0.
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    process.stderr.write(formatError(error))
    return 1
  }
}

/** The one line for an error. Commander puts its suggestions on a second line. */
export function formatError(error: unknown): string {
  const message = explain(error)
  const text =
    error instanceof CommanderError ? message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ') : message
  return formatLines([`Error: ${text.trim()}`])
}

function buildProgram(
  name: string,
  setExitCode: (code: number) => void,
  early: DaemonProcess | undefined,
): Command {
  const { version: own } = packageJson
  const version = name === FUSE_OVERLAYFS ? fuseOverlayfsVersion(own) : own
  const program = new Command(name)
    .description('Mount OCI images made of squashfs layers through one FUSE mount, without root.')
    .version(version, '-V, --version', 'print the version')
    .option('--debug', 'log every request and decision')
    .helpOption('-h, --help', 'show help')
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .showSuggestionAfterError()
    .addHelpText(
      'after',
      `
Examples:
  ${name} mount images:web rootfs          the image "web" of the OCI layout in ./images
  ${name} mount -o uid=1000 layer.sqfs dir one squashfs file
  ${name} umount rootfs
  ${name} doctor                           what keeps mounts from working here`,
    )
  const finish = async (result: Promise<number>): Promise<void> => setExitCode(await result)

  program
    .command('mount')
    .description(
      'mount SOURCE (OCIDIR:TAG, OCIDIR@DIGEST, OCIDIR or a squashfs file) on the directory TARGET',
    )
    .argument('<source>')
    .argument('<target>')
    .option('-o <options>', 'mount options, separated by commas; may be repeated', collect)
    .option('-f, --foreground', 'serve from this process and end with the mount')
    .option('--allow-missing-verity', 'accept layers without a root hash; a wrong hash is always refused')
    .option('--root-hash <hex>', 'trusted dm-verity root hash of a single image')
    .option('--offset <bytes>', 'where the squashfs image starts in the file')
    .option('--verify <mode>', 'when to verify: auto, lazy or eager (default: auto)')
    .option('--metadir <dir>', 'folder for runtime data instead of /run/atomfs')
    .option('--log <file>', 'log there instead of the runtime folder; "syslog": to the system log')
    .option('--log-level <level>', 'error, warn, info or debug (default: info; warn with -f)')
    .option('--ready-fd <fd>', 'descriptor that gets a line when the mount serves')
    .option('--driver-path <dirs>', 'folders that hold the package of driver=, as NODE_PATH would name them')
    .option('--persist <dir>', 'writable: changes are kept in DIR/persist')
    .option('--upper <dir>', 'writable: changes are kept in DIR')
    .option('--writeable', 'writable: changes are thrown away at the end')
    .option('--writable', 'the same as --writeable')
    .option('--debug', 'log every request and decision')
    .addHelpText('after', MOUNT_OPTIONS_HELP)
    .action(async (source: string, target: string, flags: MountFlags) => {
      const { mount } = await import('./commands/mount.ts')
      await finish(mount(source, target, { ...program.opts(), ...flags }, early))
    })

  program
    .command('overlay')
    .description('merge directories: -o lowerdir=A:B[,upperdir=U,workdir=W] on the directory TARGET')
    .argument('<target...>')
    .option('-o <options>', 'options of fuse-overlayfs, separated by commas; may be repeated', collect)
    .option('-f, --foreground', 'serve from this process and end with the mount')
    .option('--metadir <dir>', 'folder for runtime data instead of /run/atomfs')
    .option('--log <file>', 'log there instead of the runtime folder; "syslog": to the system log')
    .option('--log-level <level>', 'error, warn, info or debug (default: info; warn with -f)')
    .option('-d, --debug', 'log every request and decision')
    .addHelpText('after', OVERLAY_OPTIONS_HELP)
    .action(async (words: readonly string[], flags: OverlayFlags) => {
      const { overlay } = await import('./commands/overlay.ts')
      await finish(overlay(words, { ...program.opts(), ...flags }, early))
    })

  program
    .command('umount')
    .alias('unmount')
    .description('unmount TARGET and wait until its process has ended')
    .argument('<target>')
    .option('-l, --lazy', 'detach now and end when the last file is closed')
    .option('--metadir <dir>', 'folder for runtime data, as at the mount')
    .action(async (target: string, flags: UmountFlags) => {
      const { umount } = await import('./commands/umount.ts')
      await finish(umount(target, flags))
    })

  program
    .command('verify')
    .description('compare with the root hashes: what a mounted TARGET has found so far, or a whole SOURCE')
    .argument('<target|source>')
    .option('--root-hash <hex>', 'trusted dm-verity root hash of a single image')
    .option('--offset <bytes>', 'where the squashfs image starts in the file')
    .option('--metadir <dir>', 'folder for runtime data, as at the mount')
    .option('--json', 'print JSON')
    .action(async (what: string, flags: VerifyFlags) => {
      const { verify } = await import('./commands/verify.ts')
      await finish(verify(what, flags))
    })

  program
    .command('status')
    .description('show the mount at TARGET, or all mounts: layers, verification, requests, memory')
    .argument('[target]')
    .option('--metadir <dir>', 'folder for runtime data, as at the mount')
    .option('--json', 'print JSON')
    .action(async (target: string | undefined, flags: StatusFlags) => {
      const { status } = await import('./commands/status.ts')
      await finish(status(target, flags))
    })

  program
    .command('inspect')
    .description('show the layers of SOURCE: sizes, compression, verity')
    .argument('<source>')
    .option('--offset <bytes>', 'where the squashfs image starts in the file')
    .option('--json', 'print JSON')
    .action(async (source: string, flags: InspectFlags) => {
      const { inspect } = await import('./commands/inspect.ts')
      await finish(inspect(source, flags))
    })

  program
    .command('doctor')
    .description('check what mounts need on this machine; exit 0 if some way to mount works')
    .option('--json', 'print JSON')
    .action(async (flags: { json?: boolean }) => {
      const { doctor } = await import('./commands/doctor.ts')
      await finish(doctor(flags.json ?? false))
    })

  return program
}

function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value]
}

const OVERLAY_OPTIONS_HELP = `
Overlay options (-o), beside those of mount that make sense here:
  lowerdir=DIR[:DIR…]       what is below, the topmost first; a squashfs file is taken, too, and DIR.squash
                            beside a DIR that is missing or empty; \\: is a colon of a name
  upperdir=DIR, workdir=DIR where changes go; without them the mount is read-only
  redirect_dir=on|off       directories that lie below can be renamed (default: off, as for fuse-overlayfs)
  redirect_dir=on|follow    those that were renamed in a lower directory show what they have below it
  Those of fuse-overlayfs are taken; unknown ones are ignored with a message.`

const MOUNT_OPTIONS_HELP = `
Mount options (-o):
  ro                        read-only, also with --upper and --persist
  allow_other               let other users in (default for root; noallow_other turns it off)
  uid=N, gid=N              show this owner for everything; me: the one who mounts (also squash_to_uid=,
                            squash_to_gid=)
  squash_to_root            show root as the owner of everything
  ino32_t                   inode numbers below 2^32 in any case, for programs of 32 bits
  uidmapping=A:B:COUNT[:…]  show stored ids A… as B…, others as nobody (and gidmapping=)
  offset=BYTES              where the squashfs image starts in the file
  nosymfollow, sync, dirsync, noatime, nodiratime, relatime, strictatime, lazytime: as for mount(8)
  subdir=PATH               mount this directory of the image
  cache_size=BYTES[K|M|G]   bound of the block cache (default 64M)
  threads=N                 decompression threads (default: one per CPU)
  max_read=BYTES            largest read request
  verify=auto|lazy|eager    as --verify
  driver=NAME               builtin (default), or fuse-native where that npm package is installed
  notify_pipe=PATH          FIFO that gets "s" when the mount serves, "f" when it failed
  fsname=NAME               name in mount tables (default: SOURCE)
  fsync=WHEN                writable: auto (default) or strict; volatile (also alone) never syncs
  redirect_dir=on|off       writable: off refuses to rename directories of the image (EXDEV)
  xattr_permissions=N       writable: 0 real owners, 1, 2 written down in attributes (default: auto)
  xattr=user|trusted        writable: attributes of the overlay's own (default: user)
  writeback=0|1             writable: the kernel collects what is written (default: 1)
  copyup=change|open        writable: files are copied up when changed (default), or when opened for writing
  dev, suid, noexec         device files and setuid work only on request and as root of the machine`
