import { patiently, runSteps, type Steps } from '../../../src/base/index.ts'

/** What a call gives in the end, for as long as it is postponed. */
export function waited<T>(call: () => T): T {
  const results: T[] = []
  function* steps(): Steps {
    results.push(yield* patiently(call))
  }
  runSteps(steps())
  return results[0] as T
}
