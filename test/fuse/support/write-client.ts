import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { dataScenarios } from './data-scenarios.ts'
import { nameScenarios } from './name-scenarios.ts'
import { randomScenarios } from './random-changes.ts'
import { rightsScenarios } from './rights-scenarios.ts'

/** Runs one scenario in a new directory below the given one and removes it. The status tells the outcome. */
const [root, name] = process.argv.slice(2)
if (root === undefined || name === undefined) throw new Error('usage: write-client DIRECTORY SCENARIO')
const scenario = { ...nameScenarios, ...dataScenarios, ...rightsScenarios, ...randomScenarios }[name]
if (scenario === undefined) throw new Error(`no scenario '${name}'`)
process.umask(0)
const directory = join(root, `s-${process.pid}`)
mkdirSync(directory)
scenario(directory)
rmSync(directory, { recursive: true })
