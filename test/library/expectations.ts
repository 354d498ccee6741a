import { expect } from 'vitest'

/** The action throws an `FsError` with this code. */
export function failsWith(code: string, action: () => unknown): void {
  expect(action).toThrow(expect.objectContaining({ name: 'FsError', code }))
}

/** @returns the error of this class that the action throws; others pass through */
export function thrownBy<E extends Error>(kind: new (...args: never[]) => E, action: () => unknown): E {
  try {
    action()
  } catch (error) {
    if (error instanceof kind) return error
    throw error
  }
  throw new Error(`no ${kind.name} was thrown`)
}

/** What an error looks like, for `toThrow`. */
export const errorWith = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) })
