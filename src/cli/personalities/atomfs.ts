import { OWN_NAME } from '../commands/names.ts'
import { withVerb } from '../program/verb.ts'
import type { Personality } from './personality.ts'
import { runCommand } from './run-command.ts'

/** lxc-oci calls the program `atomfs`. */
const ATOMFS = 'atomfs'

/** The commands of this program: `atomfs mount SOURCE TARGET`. Without a verb it mounts, as mount.fuse3 calls it. */
export const own: Personality = {
  names: [OWN_NAME, ATOMFS],
  run: (words, name) => runCommand(withVerb(words), { name: name === ATOMFS ? name : OWN_NAME }),
}
