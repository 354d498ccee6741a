import { readFileSync } from 'node:fs'
import { takeVariable } from '../../../src/sys/process/secret-variable.ts'

/** Takes the variable SECRET, and tells what is left of it. */
const environ = (): Buffer => readFileSync('/proc/self/environ')
const before = environ().includes('phrase')
const taken = takeVariable('SECRET')
const report = {
  before,
  taken: taken?.toString('latin1'),
  again: takeVariable('SECRET') === undefined,
  absent: takeVariable('NOTHING') === undefined,
  inProcess: 'SECRET' in process.env,
  left: environ().includes('phrase'),
  others: environ().includes('PATH='),
}
process.stdout.write(JSON.stringify(report))
