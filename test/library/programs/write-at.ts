import { closeSync, constants, openSync, writeSync } from 'node:fs'

/** Writes into a file that may have holes before. */
export function writeAt(file: string, position: number, bytes: Uint8Array): void {
  const fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o644)
  try {
    writeSync(fd, bytes, 0, bytes.length, position)
  } finally {
    closeSync(fd)
  }
}
