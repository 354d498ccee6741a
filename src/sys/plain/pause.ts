/** Nobody wakes whoever waits for it. */
const nothing = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))

/** Stops the calling thread for so many milliseconds. */
export function pause(ms: number): void {
  Atomics.wait(nothing, 0, 0, ms)
}
