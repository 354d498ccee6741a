import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { bundleProgram } from '../library/index.ts'
import type { Question } from './reader-main.ts'
import { NO_LIMITS, type Survey, type SurveyLimits } from './survey.ts'

/** Path of the reader as plain JavaScript. */
export function readerProgram(): Promise<string> {
  return bundleProgram(fileURLToPath(new URL('reader-main.ts', import.meta.url)))
}

/** Surveys mounts from a child that lives on from one mount to the next: starting one costs more than a survey. */
export class Reader {
  readonly #child: ChildProcessWithoutNullStreams
  #text = ''
  #wake: (() => void) | undefined
  #ended = false

  static async start(): Promise<Reader> {
    return new Reader(await readerProgram())
  }

  constructor(program: string) {
    this.#child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child.stdout.setEncoding('utf8')
    this.#child.stdout.on('data', (text: string) => {
      this.#text += text
      this.#wake?.()
    })
    this.#child.stdin.on('error', () => {})
    this.#child.stderr.resume()
    this.#child.on('close', () => {
      this.#ended = true
      this.#wake?.()
    })
  }

  /**
   * @param known paths to ask for by name as well
   * @throws Error where there is no answer in time: the reader is killed then and of no more use
   */
  async survey(
    root: string,
    known: readonly string[] = [],
    limits: SurveyLimits = NO_LIMITS,
    timeout = 20_000,
  ): Promise<Survey> {
    const question: Question = { root, known, limits }
    this.#child.stdin.write(`${JSON.stringify(question)}\n`)
    const deadline = Date.now() + timeout
    while (!this.#text.includes('\n')) {
      if (this.#ended) throw new Error(`the reader of ${root} died`)
      const left = deadline - Date.now()
      if (left <= 0) {
        this.stop()
        throw new Error(`hang: no end of reading ${root} after ${timeout} ms`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    const end = this.#text.indexOf('\n')
    const line = this.#text.slice(0, end)
    this.#text = this.#text.slice(end + 1)
    return JSON.parse(line) as Survey
  }

  stop(): void {
    this.#child.kill('SIGKILL')
  }
}
