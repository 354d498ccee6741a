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

/** The image, and the overlay above it. */
export const STACK = [
  'squashfuse_ll -f -o allow_other,ro,uid=$U,gid=$U,offset=$N /proc/self/fd/3 $T',
  `fuse-overlayfs -f -o allow_other,lowerdir=$S/overlay-lowerdir:$S/rootfs,${CHANGES},noacl $T`,
]
