import { expect } from 'vitest'

/** The action throws an `FsError` with this code. */
export function failsWith(code: string, action: () => unknown): void {
  expect(action).toThrow(expect.objectContaining({ name: 'FsError', code }))
}
