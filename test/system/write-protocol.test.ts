import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dataScenarios } from '../fuse/support/data-scenarios.ts'
import { nameScenarios } from '../fuse/support/name-scenarios.ts'
import { randomScenarios } from '../fuse/support/random-changes.ts'
import { rightsScenarios } from '../fuse/support/rights-scenarios.ts'
import { makeTempDir, needs, removeTempDir, run, titled, unmount } from '../library/index.ts'
import { bundleProgram } from '../library/trees/walk-child.ts'

/**
 * The write side of the protocol with a real kernel, over a file system of the tests that is too plain to be wrong.
 * Every scenario must hold in a directory of the host first.
 */
const need = needs('root', 'fuse', 'setcap', 'flock')
const SUPPORT = fileURLToPath(new URL('../fuse/support', import.meta.url))

let folder: string
let client: string
let server: string

beforeAll(async () => {
  folder = makeTempDir()
  // Other users must get to the scenarios.
  chmodSync(folder, 0o755)
  client = await bundleProgram(join(SUPPORT, 'write-client.ts'))
  server = await bundleProgram(join(SUPPORT, 'serve-main.ts'))
})
afterAll(() => removeTempDir(folder))

interface Served {
  readonly target: string
  readonly child: ChildProcess
  readonly lines: string[]
}

async function serve(name: string, words: readonly string[]): Promise<Served> {
  const target = join(folder, name)
  const data = join(folder, `${name}-data`)
  mkdirSync(target)
  mkdirSync(data)
  const child = spawn(process.execPath, [server, target, data, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines: string[] = []
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line)
      if (line.startsWith('ready')) resolve()
    })
    child.once('exit', () => reject(new Error(`the server ended: ${lines.join('; ')}`)))
    setTimeout(() => reject(new Error('the server is not ready')), 20_000).unref()
  })
  return { target, child, lines }
}

/** @returns what the server said */
async function end({ target, child, lines }: Served): Promise<readonly string[]> {
  const exited = child.exitCode === null ? once(child, 'close') : undefined
  await unmount(target)
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await exited
  clearTimeout(timer)
  return lines
}

const NAMES = [nameScenarios, dataScenarios, rightsScenarios, randomScenarios].flatMap((table) =>
  Object.keys(table),
)
const play = (target: string, name: string) =>
  run(process.execPath, [client, target, name], { timeout: 60_000 })

describe.skipIf(!need.ok)(titled('the write scenarios in a directory of the host', need), () => {
  test.each(NAMES)('the write scenario works in a directory of the host: %s', async (name) => {
    await play(folder, name)
  })
})

describe.skipIf(!need.ok).each([
  ['write-through', []],
  ['write-back', ['write-back']],
])(titled('the write scenarios in a mount with %s', need), (mode, words) => {
  let served: Served
  beforeAll(async () => {
    served = await serve(mode, words)
  })

  test.each(NAMES)('the write scenario works through our mount: %s', async (name) => {
    await play(served.target, name)
  })

  test('the server of the write protocol ends without an error logged and without leaked inodes', async () => {
    const lines = await end(served)
    expect(lines.filter((line) => line.startsWith('error'))).toEqual([])
    expect(lines.at(-1)).toBe('left ')
  })

  afterAll(async () => {
    await end(served)
  })
})
