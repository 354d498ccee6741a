import { expect, test } from 'vitest'
import { APPTAINER_NAMES, LINK_NAMES, OWN_NAME } from '../../../src/cli/commands/names.ts'
import { PERSONALITIES, personalityOf } from '../../../src/cli/personalities/table.ts'

test('each name of the program has one personality', () => {
  const names = PERSONALITIES.flatMap((one) => one.names)
  expect([...names].sort()).toEqual([OWN_NAME, ...LINK_NAMES, ...APPTAINER_NAMES].sort())
  for (const personality of PERSONALITIES) {
    expect(personality.names.map(personalityOf)).toEqual(personality.names.map(() => personality))
  }
})

test('under another name the program has the commands of its own', () => {
  expect(personalityOf('atomfs-fuse-0.1').names).toContain(OWN_NAME)
})
