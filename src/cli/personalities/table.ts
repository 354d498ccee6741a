import { own } from './atomfs.ts'
import { fuseOverlayfs } from './fuse-overlayfs.ts'
import { fuse2fs } from './fuse2fs.ts'
import { gocryptfs } from './gocryptfs.ts'
import { mountHelper } from './mount-helper.ts'
import type { Personality } from './personality.ts'
import { puzzlefs } from './puzzlefs.ts'
import { squashfuse } from './squashfuse.ts'

/** All names that the program goes by. A further one is a file in this folder and a row here. */
export const PERSONALITIES: readonly Personality[] = [
  own,
  fuseOverlayfs,
  squashfuse,
  fuse2fs,
  gocryptfs,
  puzzlefs,
  mountHelper,
]

/** The personality of a name. Every other name is a command line of our own: a launcher may be called anything. */
export function personalityOf(name: string): Personality {
  return PERSONALITIES.find(({ names }) => names.some((one) => one === name)) ?? own
}
