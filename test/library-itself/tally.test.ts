import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { run, withTempDir } from '../library/index.ts'

const script = fileURLToPath(new URL('../../scripts/tally.mjs', import.meta.url))
const tests = (...statuses: readonly string[]): object => ({
  status: statuses.includes('failed') ? 'failed' : 'passed',
  assertionResults: statuses.map((status) => ({ status })),
})

/** Exit status and what is printed, for reports given as [status of the runner, files], undefined for no report. */
async function tallyText(
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
    return `${result.status}: ${result.stdout.trim()}`
  })
}

/** As {@link tallyText}, but only the last line. */
async function tally(...args: Parameters<typeof tallyText>): Promise<string> {
  const text = await tallyText(...args)
  return `${text.split(':')[0]}: ${text
    .replace(/^\d+: /, '')
    .split('\n')
    .at(-1)}`
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

test('the tally says which tests failed, and why, before its last line', async () => {
  const file = {
    status: 'failed',
    name: `${process.cwd()}/test/a.test.ts`,
    assertionResults: [
      { status: 'passed', fullName: 'good' },
      { status: 'failed', fullName: 'that a cat barks', failureMessages: ['\x1b[31mmeow\x1b[39m'] },
    ],
  }
  const unloaded = { status: 'failed', name: `${process.cwd()}/test/b.test.ts`, message: 'no such module' }
  expect(await tallyText([0, 2], [1, [file, unloaded]])).toBe(
    [
      '1: == failed (run0): test/a.test.ts: that a cat barks',
      'meow',
      '== failed (run0): test/b.test.ts: outside of its tests',
      'no such module',
      '3 passed, 2 failed',
    ].join('\n'),
  )
})
