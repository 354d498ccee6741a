import { expect, test } from 'vitest'
import { type PendingLink, PendingLinks } from '../../../src/base/index.ts'

/** Resolves links over some files. @returns how often a link was tried */
function resolved(
  links: readonly PendingLink[],
  files: readonly string[],
): {
  readonly made: ReadonlyMap<string, string>
  readonly left: readonly PendingLink[]
  readonly tries: number
} {
  const pending = new PendingLinks()
  for (const link of links) pending.add(link)
  const made = new Map<string, string>(files.map((file) => [file, file]))
  let tries = 0
  pending.resolve((path, target) => {
    tries += 1
    const file = made.get(target)
    if (file !== undefined) made.set(path, file)
    return file !== undefined
  })
  return { made, left: pending.list(), tries }
}

test('links that lead to each other are made in any order, each tried at most twice', () => {
  const count = 30_000
  const chain = Array.from({ length: count }, (_, i) => ({
    path: `l${i}`,
    target: i === 0 ? 'f' : `l${i - 1}`,
  }))
  for (const links of [chain, chain.toReversed(), chain.toSorted((a, b) => (a.path < b.path ? -1 : 1))]) {
    const { made, left, tries } = resolved(links, ['f'])
    expect(left).toEqual([])
    expect(made.get(`l${count - 1}`)).toBe('f')
    expect(tries).toBeLessThanOrEqual(2 * count)
  }
})

test('many links that wait for one are made when it is', () => {
  const links = Array.from({ length: 50_000 }, (_, i) => ({ path: `a${i}`, target: 'b' }))
  const { made, left } = resolved([...links, { path: 'b', target: 'f' }], ['f'])
  expect(left).toEqual([])
  expect(made.get('a49999')).toBe('f')
})

test('links without a file, and links in a circle, are left', () => {
  const links = ['a>b', 'b>a', 'c>none', 'd>f'].map((text) => {
    const [path = '', target = ''] = text.split('>')
    return { path, target }
  })
  expect(resolved(links, ['f']).left).toEqual(links.slice(0, 3))
})

test('the last link of a path counts', () => {
  const { made } = resolved(
    [
      { path: 'l', target: 'a' },
      { path: 'l', target: 'b' },
    ],
    ['a', 'b'],
  )
  expect(made.get('l')).toBe('b')
})

test('more paths than memory is meant for are refused', () => {
  const pending = new PendingLinks(20)
  pending.add({ path: 'aaaa', target: 'bbbb' })
  pending.add({ path: 'aaaa', target: 'cccccc' })
  pending.add({ path: 'dddd', target: 'eeeeee' })
  expect(() => pending.add({ path: 'f', target: 'g' })).toThrow(
    '2 hard links come before their files, with paths of more than 20 bytes in all',
  )
})
