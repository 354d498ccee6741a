import { OWN_NAME } from '../commands/names.ts'
import { readHelperWords } from './helper-words.ts'
import type { Personality } from './personality.ts'
import { runCommand } from './run-command.ts'

/**
 * What mount(8) runs for `-t atomfs-fuse` and `-t fuse.atomfs-fuse`: `HELPER SOURCE TARGET [-sfnv] [-N NAMESPACE]
 * [-o OPTIONS] [-t TYPE.SUBTYPE]` (mount(8), "External helpers").
 */
export const mountHelper: Personality = {
  names: ['mount.atomfs-fuse', 'mount.fuse.atomfs-fuse'],
  run: async (words) => {
    const { isFake, rest } = readHelperWords(words)
    return isFake ? 0 : await runCommand(['mount', ...rest], { name: OWN_NAME })
  },
}
