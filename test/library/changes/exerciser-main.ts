import { Random } from '../trees/random.ts'
import { walkTree } from '../trees/tree-walk.ts'
import { ChangeGenerator } from './changes.ts'
import type { ChangesRequest } from './run.ts'
import { MountedTree } from './tree.ts'

/**
 * The program of `runChanges`: makes random changes below a directory, and prints one JSON line for each, and one with
 * the whole tree at the start and after every few.
 */
const [directory, text] = process.argv.slice(2)
if (directory === undefined || text === undefined)
  throw new Error('usage: changes-main DIRECTORY REQUEST-AS-JSON')
const request = JSON.parse(text) as ChangesRequest

const tree = new MountedTree(directory)
const generator = new ChangeGenerator(new Random(request.seed), request)
const lines: string[] = []
const look = (step: number): void => {
  lines.push(JSON.stringify({ step, tree: walkTree('.', { skipGhosts: request.skipGhosts }) }))
}
if (request.amongOthers !== true) look(-1)
for (let step = 0; step < request.steps; step += 1) {
  const change = generator.next()
  let result: string
  try {
    result = `ok ${JSON.stringify(change.run(tree) ?? '')}`
    generator.succeeded(change)
  } catch (error) {
    const code = (error as { readonly code?: unknown }).code
    if (typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code)) throw error
    result = code
  }
  lines.push(JSON.stringify({ step, change: change.text, result }))
  if (step % request.every === request.every - 1) look(step)
}
tree.close()
process.stdout.write(`${lines.join('\n')}\n`)
