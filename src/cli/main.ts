import '../sys/plain/own-packages.ts'
import { basename } from 'node:path'
import { commandLine } from './command-line.ts'
import { personalityOf } from './personalities/table.ts'

const name = basename(process.argv[1] ?? '')
const exitCode = await personalityOf(name).run(commandLine(), name)

// Exits at once instead of waiting for handles: the parent of a daemon has nothing left to do.
process.exit(exitCode)
