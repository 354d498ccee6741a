import { describe, expect, test } from 'vitest'
import {
  type CrashStep,
  type DiaryLine,
  diaryDifferences,
  HOLE,
  LAYER_TIME,
  type SeenFile,
  type SeenFiles,
} from '../library/changes/crash.ts'

const NOW = 1_700_000_000
const file = (inode: string, pages: readonly number[], more: Partial<SeenFile> = {}): SeenFile => {
  return { inode, pages, mode: 0o640, mark: 0, mtime: LAYER_TIME, ...more }
}
const START: SeenFiles = { a: file('1', [0, 0, 0]), h: file('2', [0]), 'd0/h': file('2', [0]) }

function done(n: number, step: CrashStep): DiaryLine[] {
  return [
    { n, step },
    { n, ok: true },
  ]
}

function differences(
  diary: readonly DiaryLine[],
  changes: Record<string, SeenFile | undefined>,
  delayed = false,
) {
  const seen = Object.entries({ ...START, ...changes }).filter((pair): pair is [string, SeenFile] => {
    return pair[1] !== undefined
  })
  return diaryDifferences(START, diary, Object.fromEntries(seen), delayed)
}

describe('the states a disk may have after a crash', () => {
  const write: CrashStep = { call: 'write', name: 'a', from: 1, count: 4 }

  test('a finished write survives a crash, with a new time and a hole up to its start', () => {
    const after = { a: file('1', [0, 5, 5, 5, 5], { mtime: NOW }) }
    expect(differences(done(5, write), after)).toEqual([])
    expect(differences(done(5, write), {})).not.toEqual([])
    expect(differences(done(5, write), { a: file('1', [0, 5, 0, 5, 5], { mtime: NOW }) })).not.toEqual([])
    expect(differences(done(5, write), { a: file('1', [0, 5, 5, 5, 5]) })).not.toEqual([])
    const far: CrashStep = { call: 'write', name: 'h', from: 2, count: 1 }
    const grown = file('2', [0, HOLE, 6], { mtime: NOW })
    expect(differences(done(6, far), { h: grown, 'd0/h': grown })).toEqual([])
  })

  test('a write under way survives a crash in part, in whole pages', () => {
    for (const pages of [
      [0, 0, 0],
      [0, 5, 0],
      [0, 5, 5, 5],
    ]) {
      for (const mtime of [LAYER_TIME, NOW]) {
        expect(differences([{ n: 5, step: write }], { a: file('1', pages, { mtime }) })).toEqual([])
      }
    }
    // A page of nobody, a page that the copy lost, a copy that is too short.
    for (const pages of [[0, -1, 0], [HOLE, 5, 0], [0, 0], []]) {
      expect(differences([{ n: 5, step: write }], { a: file('1', pages) })).not.toEqual([])
    }
  })

  test('a write that is not synced may be lost in a crash only if writes are delayed', () => {
    const short: CrashStep = { ...write, count: 2 }
    const diary = done(5, short)
    expect(differences(diary, {}, true)).toEqual([])
    expect(differences(diary, {}, false)).not.toEqual([])
    const synced = [...diary, ...done(6, { call: 'fsync', name: 'a' })]
    expect(differences(synced, {}, true)).not.toEqual([])
    expect(differences(synced, { a: file('1', [0, 5, 5], { mtime: NOW }) }, true)).toEqual([])
  })

  test('a rename under way has happened or not after a crash', () => {
    const rename: DiaryLine = { n: 5, step: { call: 'rename', name: 'a', other: 'b' } }
    expect(differences([rename], {})).toEqual([])
    expect(differences([rename], { a: undefined, b: file('1', [0, 0, 0]) })).toEqual([])
    // Both names, or none.
    expect(differences([rename], { b: file('1', [0, 0, 0]) })).not.toEqual([])
    expect(differences([rename], { a: undefined })).not.toEqual([])
    // One that failed has not.
    expect(differences([rename, { n: 5, ok: false }], { a: undefined, b: file('1', [0, 0, 0]) })).not.toEqual(
      [],
    )
  })

  test('hard links stay links after a crash, and attributes stay with them', () => {
    const chmod = done(5, { call: 'chmod', name: 'h', mode: 0o600 })
    const changed = file('2', [0], { mode: 0o600 })
    expect(differences(chmod, { h: changed, 'd0/h': changed })).toEqual([])
    expect(differences(chmod, { h: changed })).not.toEqual([])
    expect(differences(chmod, { h: changed, 'd0/h': { ...changed, inode: '7' } })).not.toEqual([])
    const mark = done(9, { call: 'mark', name: 'a' })
    expect(differences(mark, { a: file('1', [0, 0, 0], { mark: 9 }) })).toEqual([])
    expect(differences(mark, {})).not.toEqual([])
  })

  test('directories that are exchanged before a crash keep their files', () => {
    const swap = done(5, { call: 'swap', name: 'd0', other: 'd1' })
    expect(differences(swap, { 'd0/h': undefined, 'd1/h': file('2', [0]) })).toEqual([])
    expect(differences(swap, {})).not.toEqual([])
  })
})
