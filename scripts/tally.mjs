// Sums up test runs: node scripts/tally.mjs FAILED-CHECKS PASSED-CHECKS [LABEL=STATUS=REPORT.json …]
// Prints the failed tests, and "N passed, N failed" (and ", N skipped") as the last line; exits with 1 where anything
// failed.
import { existsSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { stripVTControlCharacters } from 'node:util'

const [failedChecks, passedChecks, ...runs] = process.argv.slice(2)
const total = { passed: Number(passedChecks), failed: Number(failedChecks), skipped: 0 }

for (const run of runs) {
  const [label, status, path] = run.split('=')
  const before = total.failed
  const report = readReport(path)
  for (const file of report?.testResults ?? []) {
    const tests = file.assertionResults ?? []
    for (const test of tests) {
      if (test.status === 'passed') total.passed += 1
      else if (test.status === 'failed') fail(label, file, test.fullName, test.failureMessages?.[0])
      else total.skipped += 1
    }
    // A file that cannot be loaded or whose hooks fail may have no failed test of its own.
    if (file.status === 'failed' && !tests.some((test) => test.status === 'failed')) {
      fail(label, file, 'outside of its tests', file.message)
    }
  }
  // The runner itself failed: no report, no tests, or an error outside any test.
  if (status !== '0' && total.failed === before) {
    console.log(`${label}: the test run ended with status ${status} without a failed test`)
    total.failed += 1
  } else if (report === undefined || report.numTotalTests === 0) {
    console.log(`${label}: no test report`)
    total.failed += total.failed === before ? 1 : 0
  }
}

const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : ''
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`)
process.exitCode = total.failed > 0 ? 1 : 0

/** Counts a failure and says where it is: logs are read from their end. */
function fail(label, file, name, message = '') {
  total.failed += 1
  const path = relative(process.cwd(), file.name ?? '')
  console.log(`== failed (${label}): ${path}: ${name}`)
  console.log(stripVTControlCharacters(message).slice(0, 2000))
}

function readReport(path) {
  if (!existsSync(path)) return undefined
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}
