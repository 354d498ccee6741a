/** The version of squashfuse whose options are understood. atomfs passes `notify_pipe` from 0.5.0 on. */
const LIKE_VERSION = '0.6.2'

/**
 * What squashfuse prints on stderr without arguments. atomfs reads the second word of the first line, and Apptainer looks
 * for `-o uid=`.
 */
export function squashfuseHelp(name: string, ownVersion: string): string {
  return `squashfuse ${LIKE_VERSION} (atomfs-fuse ${ownVersion})

Usage: ${name} [options] ARCHIVE MOUNTPOINT

${name} options:
    -o offset=N            offset N bytes into ARCHIVE to mount
    -o subdir=PATH         mount subdirectory PATH of ARCHIVE
    -o notify_pipe=PATH    named pipe that will receive 's' (success)
                           or 'f' (failure) when the mountpoint is ready
    -o timeout=N           idle N seconds for automatic unmount
    -o uid=N               set file owner to uid N
    -o gid=N               set file group to gid N
    -o allow_other         allow access by other users
    -h   --help            print help
    -V   --version         print version
    -d   -o debug          enable debug output (implies -f)
    -f                     foreground operation
    -s                     accepted, without effect

The mount options of atomfs-fuse are taken, too: see atomfs-fuse mount --help.
`
}
