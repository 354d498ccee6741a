export interface Progress {
  /** Whether anybody sees it. */
  readonly isShown: boolean
  readonly update: (done: number, total: number) => void
  readonly stop: () => void
}

const SILENT: Progress = { isShown: false, update: () => undefined, stop: () => undefined }

/** A bar on stderr while long work runs; nothing without a terminal, or if a program reads the output. */
export async function startProgress(what: string, quiet: boolean): Promise<Progress> {
  if (quiet || !process.stderr.isTTY) return SILENT
  const { Presets, SingleBar } = (await import('cli-progress')).default
  const format = `${what} {bar} {percentage} % | {doneMb} of {totalMb} MB | {eta} s left`
  const bar = new SingleBar(
    { format, clearOnComplete: true, hideCursor: true, etaBuffer: 50 },
    Presets.shades_classic,
  )
  let isStarted = false
  return {
    isShown: true,
    update: (done, total) => {
      const payload = { doneMb: Math.round(done / 1e6), totalMb: Math.round(total / 1e6) }
      if (!isStarted) bar.start(total, done, payload)
      else bar.update(done, payload)
      isStarted = true
    },
    stop: () => {
      if (isStarted) bar.stop()
    },
  }
}
