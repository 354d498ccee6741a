import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { withTempDir } from '../library/programs/temp.ts'
import { NO_LIMITS, PIECE, type Survey, survey } from './survey.ts'
import { judge } from './verdict.ts'

/** The judge of the tamper tests must see every kind of wrong answer, or they prove nothing. */

const golden: Survey = {
  limited: false,
  items: {
    '': { stat: 'd', xattrs: '{}', names: '["f","l"]' },
    f: { stat: 's', xattrs: '{"user.a":"01"}', content: 'one two three' },
    l: { stat: 't', xattrs: '{}', target: '"f"' },
  },
}

function changed(path: string, item: Survey['items'][string]): Survey {
  return { limited: false, items: { ...golden.items, [path]: { ...golden.items[path], ...item } } }
}

test('the judge counts unchanged items as right and items that fail with EIO as refused', () => {
  expect(judge(golden, golden)).toEqual({ wrong: [], refused: [], right: 11 })
  const partly = judge(changed('f', { content: 'one !EIO three', xattrs: '!EIO' }), golden)
  expect(partly).toEqual({ wrong: [], refused: ['xattrs of f', 'content of f'], right: 9 })
  const whole = { limited: false, items: { ...golden.items, f: { stat: '!EIO' } } }
  expect(judge(whole, golden)).toMatchObject({ wrong: [], refused: ['stat of f'] })
  expect(judge(changed('f', { content: '!EIO' }), golden)).toMatchObject({ wrong: [] })
})

test.each<[string, Survey]>([
  ['other content', changed('f', { content: 'one two four' })],
  ['less content', changed('f', { content: 'one two' })],
  ['more content', changed('f', { content: 'one two three four' })],
  ['no content', changed('f', { content: '' })],
  ['other attributes', changed('f', { stat: 'x' })],
  ['no extended attributes', changed('f', { xattrs: '{}' })],
  ['another target', changed('l', { target: '"g"' })],
  ['a shorter listing', changed('', { names: '["f"]' })],
  ['a file that is absent', { limited: false, items: { ...golden.items, f: { stat: '!ENOENT' } } }],
  ['an error other than EIO', changed('f', { content: 'one !EACCES three' })],
  ['a name too many', changed('g', { stat: '!EIO' })],
  ['a path that was not asked for', { limited: false, items: { '': golden.items['']! } }],
])('%s is wrong', (_, actual) => {
  expect(judge(actual, golden).wrong.length).toBeGreaterThan(0)
})

test('a survey lists every entry, probes the known names, and stays within its limits', async () => {
  await withTempDir((temp) => {
    mkdirSync(join(temp, 'd'))
    writeFileSync(join(temp, 'd/f'), Buffer.alloc(2 * PIECE, 1))
    symlinkSync('d/f', join(temp, 'l'))
    const { items, limited } = survey(temp, ['none'], NO_LIMITS)
    expect(limited).toBe(false)
    expect(Object.keys(items).sort()).toEqual(['', 'd', 'd/f', 'l', 'none'])
    expect(items['']?.names).toBe('["d","l"]')
    expect(items['l']?.target).toBe('"d/f"')
    expect(items['none']).toEqual({ stat: '!ENOENT' })
    const pieces = items['d/f']!.content!.split(' ')
    expect(pieces).toHaveLength(3)
    expect(pieces[0]).toBe(pieces[1])
    expect(pieces[2]).toMatch(/^0:/)
    for (const limit of [{ entries: 2 }, { depth: 1 }, { fileBytes: PIECE }]) {
      expect(survey(temp, [], { ...NO_LIMITS, ...limit }).limited).toBe(true)
    }
  })
})
