import { basename } from 'node:path'
import { run } from './program.ts'

// The name it was called by: lxc-oci calls the program `atomfs`.
const name = basename(process.argv[1] ?? '') === 'atomfs' ? 'atomfs' : 'atomfs-fuse'

// Exits at once instead of waiting for handles: the parent of a daemon has nothing left to do.
process.exit(await run(process.argv.slice(2), name))
