import { expect } from 'vitest'

/** The action throws an `FsError` with this code. */
export function failsWith(code: string, action: () => unknown): void {
  expect(action).toThrow(expect.objectContaining({ name: 'FsError', code }))
}

/** What an error looks like, for `toThrow`. */
export const errorWith = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) })
