import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { run, withTempDir } from '../library/index.ts'

const script = fileURLToPath(new URL('../../scripts/tally.mjs', import.meta.url))
const tests = (...statuses: readonly string[]): object => ({
  status: statuses.includes('failed') ? 'failed' : 'passed',
  assertionResults: statuses.map((status) => ({ status })),
})

/** Exit status and last line for reports given as [status of the runner, files], undefined for no report. */
async function tally(
  checks: readonly number[],
  ...runs: readonly (readonly [number, readonly object[] | undefined])[]
): Promise<string> {
  return await withTempDir(async (temp) => {
    const args = runs.map(([status, testResults], i) => {
      const path = `${temp}/${i}.json`
      if (testResults) writeFileSync(path, JSON.stringify({ numTotalTests: testResults.length, testResults }))
      return `run${i}=${status}=${path}`
    })
    const result = await run(process.execPath, [script, ...checks.map(String), ...args], {
      allowFailure: true,
    })
    return `${result.status}: ${result.stdout.trim().split('\n').at(-1)}`
  })
}

test('the tally sums up runs and checks', async () => {
  expect(await tally([0, 2], [0, [tests('passed', 'passed')]], [0, [tests('passed')]])).toBe(
    '0: 5 passed, 0 failed',
  )
  expect(await tally([0, 2], [0, [tests('passed', 'skipped', 'todo')]])).toBe(
    '0: 3 passed, 0 failed, 2 skipped',
  )
  expect(await tally([1, 1], [1, [tests('passed', 'failed')]])).toBe('1: 2 passed, 2 failed')
})

test('the tally counts a run that goes wrong outside its tests as a failure', async () => {
  const broken = { status: 'failed', assertionResults: [] }
  expect(await tally([0, 2], [1, [tests('passed'), broken]])).toBe('1: 3 passed, 1 failed')
  expect(await tally([0, 2], [1, [tests('passed')]])).toBe('1: 3 passed, 1 failed')
  expect(await tally([0, 2], [0, undefined])).toBe('1: 2 passed, 1 failed')
  expect(await tally([0, 2], [137, undefined], [0, [tests('passed')]])).toBe('1: 3 passed, 1 failed')
  expect(await tally([0, 2], [0, []])).toBe('1: 2 passed, 1 failed')
})
