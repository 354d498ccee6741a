import { type CallerName, type End, OWNERS, USER } from './apptainer.ts'

/**
 * The command lines of Apptainer and SingularityCE, by the rights with which each runs them (apptainer: imagedriver.go;
 * singularity: fuse_mount_linux.go, overlay_set_linux.go; sif: mount.go). `callOf` says what stands for what in a line.
 */

/** Owners as they are shown. */
export const THE_USER = `${USER}:${USER}`
export const ROOT = '0:0'
/** In a user namespace that does not have the owners of the image. */
const NOBODY = '65534:65534'

export interface Row {
  readonly since: string
  readonly by: CallerName
  readonly line: string
  readonly owner: string
  /** Whether the user can write. */
  readonly writable?: boolean
  readonly end?: End
  /** The offset is in the environment, with a library. */
  readonly isPreloaded?: boolean
}

const SETUID = 'squashfuse_ll -f -o allow_other,ro,uid=$U,gid=$U,offset=$N /proc/self/fd/3 /dev/fd/4'
const OVERLAY = 'lowerdir=$S/overlay-lowerdir:$SANDBOX'
const CHANGES = 'upperdir=$S/overlay-images/0/upper,workdir=$S/overlay-images/0/work'

export const ROWS: readonly Row[] = [
  {
    since: '1.1.0 to 1.1.2',
    by: 'a user namespace, until 1.2',
    line: 'squashfuse_ll -f -o offset=$N /proc/self/fd/3 $T',
    owner: NOBODY,
  },
  {
    since: '1.1.0 to 1.1.6',
    by: 'a user namespace, until 1.2',
    line: "squashfuse_ll -f -o '' /proc/self/fd/3 $T",
    owner: NOBODY,
    end: 'SIGTERM',
  },
  {
    since: '1.1.0 to 1.2.5',
    by: 'a user namespace, until 1.2',
    line: 'squashfuse -f -o uid=$U,gid=$U,offset=$N /proc/self/fd/3 $T',
    owner: THE_USER,
  },
  {
    since: '1.1.8 to 1.2.5',
    by: 'a user namespace, until 1.2',
    line: 'squashfuse_ll -f /proc/self/fd/3 $T',
    owner: NOBODY,
  },
  {
    since: '1.1.3 to 1.2.5, fakeroot',
    by: 'root of a user namespace',
    line: 'squashfuse_ll -f -o uid=$U,gid=$U,offset=$N /proc/self/fd/3 $T',
    owner: NOBODY,
  },
  {
    since: '1.3.0',
    by: 'a user namespace',
    line: 'squashfuse_ll -f -o allow_other,ro,uid=$U,gid=$U,offset=$N /proc/self/fd/3 $T',
    owner: THE_USER,
  },
  {
    since: '1.3.0, fakeroot',
    by: 'root of a user namespace',
    line: 'squashfuse -f -o allow_other,ro,uid=$U,gid=$U,offset=$N /proc/self/fd/3 $T',
    owner: ROOT,
    end: 'umount while in use, then SIGTERM',
  },
  {
    since: '1.3.0',
    by: 'a plain user with ambient capabilities',
    line: 'squashfuse_ll -f -o allow_other,uid=$U,gid=$U /proc/self/fd/3 $T',
    owner: THE_USER,
  },
  {
    since: '1.3.0, inner image of gocryptfs',
    by: 'root',
    line: 'squashfuse_ll -f -o allow_other,ro,uid=$U,gid=$U $IMAGE $T',
    owner: OWNERS,
  },
  {
    since: '1.3.0, setuid',
    by: 'the setuid program',
    line: SETUID,
    owner: THE_USER,
  },
  {
    since: '1.3.0, setuid',
    by: 'the setuid program, with ambient capabilities',
    line: 'squashfuse -f -o allow_other,ro,uid=$U,gid=$U /proc/self/fd/3 /dev/fd/4',
    owner: THE_USER,
    end: 'umount while in use, then SIGTERM',
  },
  {
    since: '1.3.0, setuid and fakeroot',
    by: 'the setuid program, into a user namespace',
    line: SETUID,
    owner: THE_USER,
  },
  {
    since: '1.1.3 to 1.1.6, without owners',
    by: 'a plain user with ambient capabilities',
    line: 'squashfuse_ll -f -o ,offset=$N /proc/self/fd/3 $T',
    owner: OWNERS,
  },
  {
    since: '1.1.0 to 1.2.5',
    by: 'a user namespace, until 1.2',
    line: 'fuse2fs -f -o fakeroot,ro /proc/self/fd/3 $T',
    owner: NOBODY,
  },
  {
    since: '1.1.0 to 1.2.5, at an offset',
    by: 'a user namespace, until 1.2',
    line: 'stdbuf -oL fuse2fs -f -o fakeroot,ro /proc/self/fd/3 $T',
    owner: NOBODY,
    isPreloaded: true,
    end: 'SIGTERM',
  },
  {
    since: '1.1.0 to 1.2.5, fakeroot',
    by: 'root of a user namespace',
    line: 'fuse2fs -f -o ro /proc/self/fd/3 $T',
    owner: NOBODY,
  },
  {
    since: '1.3.0',
    by: 'a plain user with ambient capabilities',
    line: 'fuse2fs -f -o allow_other,ro,fakeroot /proc/self/fd/3 $T',
    owner: OWNERS,
    isPreloaded: true,
  },
  {
    since: '1.3.0',
    by: 'root',
    line: 'stdbuf -oL fuse2fs -f -o allow_other,ro /proc/self/fd/3 $T',
    owner: OWNERS,
  },
  {
    since: '1.3.0, setuid',
    by: 'the setuid program',
    line: 'fuse2fs -f -o allow_other,ro,fakeroot /proc/self/fd/3 /dev/fd/4',
    owner: OWNERS,
    isPreloaded: true,
  },
  {
    since: 'SingularityCE, an overlay',
    by: 'root of a user namespace',
    line: 'fuse2fs -o uid=0,gid=0,ro,dev,suid,offset=$N $EXTSIF $T',
    owner: ROOT,
    end: 'fusermount -u',
  },
  {
    since: '1.1.0 to 1.1.2',
    by: 'a user namespace, until 1.2',
    line: `fuse-overlayfs -f -o ${OVERLAY},${CHANGES} $T`,
    owner: THE_USER,
    writable: true,
  },
  {
    since: '1.1.8',
    by: 'a user namespace, until 1.2',
    line: `fuse-overlayfs -f -o ${OVERLAY},${CHANGES},xino=on,noacl $T`,
    owner: THE_USER,
    writable: true,
    end: 'SIGTERM',
  },
  {
    since: '1.3.0',
    by: 'a user namespace',
    line: `fuse-overlayfs -f -o allow_other,ro,${OVERLAY},noacl $T`,
    owner: THE_USER,
  },
  {
    since: '1.3.0, several overlays',
    by: 'a plain user with ambient capabilities',
    line: `fuse-overlayfs -f -o allow_other,ro,lowerdir=$S/overlay-images/1/upper:$S/overlay-images/0/upper:$S/overlay-lowerdir:$SANDBOX,noacl $T`,
    owner: THE_USER,
  },
  {
    since: '1.3.0, fakeroot',
    by: 'root of a user namespace',
    line: `fuse-overlayfs -f -o allow_other,${OVERLAY},${CHANGES},noacl $T`,
    owner: ROOT,
    writable: true,
    end: 'umount while in use, then SIGTERM',
  },
  {
    since: '1.3.0, setuid',
    by: 'the setuid program',
    line: `fuse-overlayfs -f -o allow_other,${OVERLAY},${CHANGES},noacl /dev/fd/3`,
    owner: THE_USER,
    writable: true,
  },
  {
    since: 'SingularityCE, siftool',
    by: 'a plain user',
    line: 'squashfuse -o ro,offset=$N $SIF $T',
    owner: OWNERS,
    end: 'fusermount -u',
  },
  {
    since: 'SingularityCE',
    by: 'a plain user',
    line: 'squashfuse_ll -o uid=$U,gid=$U,ro,offset=$N $SIF $T',
    owner: THE_USER,
    end: 'fusermount -z -u',
  },
  {
    since: 'SingularityCE, a bind',
    by: 'root',
    line: 'squashfuse -o uid=0,gid=0,ro,suid,allow_other,offset=$N $SIF $T',
    owner: ROOT,
    end: 'fusermount -u',
  },
  {
    since: 'SingularityCE, an overlay',
    by: 'root of a user namespace',
    line: 'squashfuse -o uid=0,gid=0,ro,dev,suid $IMAGE $T',
    owner: ROOT,
    end: 'fusermount -z -u',
  },
  {
    since: 'SingularityCE, onto its lowest layer',
    by: 'root of a user namespace',
    line: `fuse-overlayfs -o lowerdir=$S/overlay-lowerdir:$SANDBOX,${CHANGES} $SANDBOX`,
    owner: ROOT,
    writable: true,
    end: 'fusermount -z -u',
  },
]

/** Calls that want to write in an ext3 file system, which is only read. */
export const REFUSED: readonly string[] = [
  "fuse2fs -f -o '' /proc/self/fd/3 $T",
  'fuse2fs -f -o fakeroot /proc/self/fd/3 $T',
  'fuse2fs -f -o allow_other,fakeroot /proc/self/fd/3 $T',
  'fuse2fs -f -o allow_other /proc/self/fd/3 $T',
]

/** With these rights every command line works, whichever Apptainer uses for it. */
export const EVERY_WAY: readonly CallerName[] = [
  'root',
  'root of a user namespace',
  'a plain user with ambient capabilities',
]

/** The rows of Apptainer as another caller plays them: paths, with descriptors of its own, and `/dev/fd/4` for the mount. */
export function rowsAs(by: CallerName): readonly Row[] {
  const user = by === 'a plain user with ambient capabilities' ? THE_USER : ROOT
  const stored = by === 'root of a user namespace' ? NOBODY : OWNERS
  const ours = ROWS.filter(({ line }) => line.includes(' -f '))
  const all = [...ours, ...ours.filter(isMovable).map((row) => ({ ...row, line: toDescriptor(row.line) }))]
  return all.map((row) => {
    const { line } = row
    const name = /^(?:stdbuf -oL )?(\S+)/.exec(line)?.[1] ?? ''
    const owner =
      name === 'fuse-overlayfs'
        ? user
        : line.includes('uid=$U') && (name === 'squashfuse' || user !== ROOT)
          ? user
          : stored
    return { ...row, by, owner }
  })
}

/** The caller mounts, read-only or not as it says to the program, and hands the connection over. */
function isMovable({ line, end, writable = false }: Row): boolean {
  const saysAll = line.includes('allow_other') && (writable || line.includes(',ro,'))
  return line.endsWith(' $T') && saysAll && end !== 'SIGTERM'
}

function toDescriptor(line: string): string {
  return line.replace(/\$T$/, line.includes('/proc/self/fd/3') ? '/dev/fd/4' : '/dev/fd/3')
}

/** The image, and the overlay above it. */
export const STACK = [
  'squashfuse_ll -f -o allow_other,ro,uid=$U,gid=$U,offset=$N /proc/self/fd/3 $T',
  `fuse-overlayfs -f -o allow_other,lowerdir=$S/overlay-lowerdir:$S/rootfs,${CHANGES},noacl $T`,
]
