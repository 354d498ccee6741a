import { readFileSync } from 'node:fs'

/** The mount points that this process sees, in mount order (proc(5), /proc/PID/mountinfo). */
export function mountPoints(): readonly string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => unescapeMount(line.split(' ')[4] ?? ''))
}

export function isMounted(target: string): boolean {
  return mountPoints().includes(target)
}

export function mountsBelow(directory: string): readonly string[] {
  return mountPoints().filter((point) => point === directory || point.startsWith(`${directory}/`))
}

/** Space, tab, newline and backslash stand as three octal digits. */
function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
