import { restoreAtEnd } from './restore-at-end.ts'

export interface Progress {
  /** Whether anybody sees it. */
  readonly isShown: boolean
  readonly update: (done: number, total: number) => void
  readonly stop: () => void
}

const SILENT: Progress = { isShown: false, update: () => undefined, stop: () => undefined }

/** What is counted: the text beside the bar, and what it needs. */
interface Unit {
  readonly text: string
  readonly payload: (done: number, total: number) => object
}

const UNITS = {
  bytes: {
    text: '{doneMb} of {totalMb} MB | {eta} s left',
    payload: (done, total) => ({ doneMb: Math.round(done / 1e6), totalMb: Math.round(total / 1e6) }),
  },
  names: { text: '{value} names', payload: () => ({}) },
} as const satisfies Readonly<Record<string, Unit>>

/** A bar on stderr while long work runs; nothing without a terminal, or if a program reads the output. */
export async function startProgress(
  what: string,
  quiet: boolean,
  unit: keyof typeof UNITS = 'bytes',
): Promise<Progress> {
  if (quiet || !process.stderr.isTTY) return SILENT
  const { Presets, SingleBar } = (await import('cli-progress')).default
  const { text, payload }: Unit = UNITS[unit]
  const format = `${what} {bar} {percentage} % | ${text}`
  const bar = new SingleBar(
    { format, clearOnComplete: true, hideCursor: true, etaBuffer: 50 },
    Presets.shades_classic,
  )
  let forget: (() => void) | undefined
  let isOver = false
  const end = (): void => {
    if (forget !== undefined && !isOver) bar.stop()
    isOver = true
    forget?.()
  }
  return {
    isShown: true,
    update: (done, total) => {
      if (isOver) return
      if (forget !== undefined) bar.update(done, payload(done, total))
      else {
        bar.start(total, done, payload(done, total))
        // The bar hides the cursor.
        forget = restoreAtEnd(end)
      }
    },
    stop: end,
  }
}
