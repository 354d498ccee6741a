import { type WalkOptions, walkTree } from './tree-walk.ts'

/** The program of `walkInChild`: a directory and options as JSON in, the listing as one JSON line per entry out. */
const [root, options] = process.argv.slice(2)
if (root === undefined) throw new Error('usage: walk-main DIRECTORY [OPTIONS-AS-JSON]')
const entries = walkTree(root, JSON.parse(options ?? '{}') as WalkOptions)
process.stdout.write(`[\n${entries.map((entry) => JSON.stringify(entry)).join(',\n')}\n]\n`)
