import { join } from 'node:path'
import { withoutMounts } from './makers.ts'
import type { Reader } from './reader.ts'

/** What makes the layers of an image readable for the first time. */
export interface FirstRead {
  readonly command: readonly string[]
  /** The directory of what is kept for the next time; absent where nothing is. */
  readonly made?: string
  /** Takes away what the command has mounted. */
  readonly end?: readonly string[]
}

/** @param program `bin/atomfs-fuse` */
export function firstOurs(program: string): NonNullable<Reader['first']> {
  return ({ unverified }, directory) => {
    const [made, target] = [join(directory, 'store'), join(directory, 'target')]
    return {
      command: [program, 'mount', '--store', made, unverified, target],
      made,
      end: [program, 'umount', target],
    }
  }
}

/** What any reader of the layer has to do at least. */
export const gunzipReader = withoutMounts('gunzip', {
  first: ({ tar }) => ({ command: ['sh', '-c', 'gunzip -c "$1" >/dev/null', 'gunzip', tar?.blob ?? ''] }),
})

export const umociReader = withoutMounts('umoci', {
  first: ({ unverified }, directory) => {
    const made = join(directory, 'bundle')
    return { command: ['umoci', 'unpack', '--image', unverified, made], made }
  },
})

const PODMAN = 'podman --root "$2" --runroot "$3" --storage-driver overlay'

/** With a storage of its own. `podman unshare` is for plain users; what it mounts is unpacked in the same way. */
export const podmanReader = withoutMounts('podman', {
  first: ({ unverified }, directory) => {
    const made = join(directory, 'storage')
    // podman takes no long path.
    const state = `/tmp/bench-podman-${process.pid}`
    const words = (script: string): string[] => ['sh', '-c', script, 'podman', unverified, made, state]
    return {
      command: words(`id=$(${PODMAN} pull --quiet "oci:$1") && ${PODMAN} image mount "$id"`),
      made,
      end: words(`${PODMAN} image umount --all --force; umount "$2/overlay" 2>/dev/null; rm -rf "$3"`),
    }
  },
})
