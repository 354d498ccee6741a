import { expect, test } from 'vitest'
import type { NodeId, Ref } from '../../src/base/index.ts'

test('an id of one sort is refused where another is wanted', () => {
  const ref: Ref = 5
  // @ts-expect-error `npm run types` fails where the compiler takes a Ref as a NodeId.
  const node: NodeId = ref
  const number: number = node
  expect(number).toBe(5)
})
