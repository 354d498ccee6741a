import { COMMAND_ROWS, MOUNT_ROWS, type OptionRow, OVERLAY_ROWS } from './option-rows.ts'

const WIDTH = 100
/** Columns of the forms; longer ones stand on lines of their own. */
const FORMS = 26

/** What `--help` says of the words after `-o`. */
export function mountOptionsHelp(): string {
  return `
Mount options (-o), separated by commas:
${formatRows([...MOUNT_ROWS, ...COMMAND_ROWS])}`
}

/** The end of the help of `overlay`, made from the table by which its options are read. */
export function overlayOptionsHelp(): string {
  return `
Overlay options (-o), beside those of mount that make sense here:
${formatRows(OVERLAY_ROWS)}
  Those of fuse-overlayfs are taken; unknown ones are ignored with a message.`
}

function formatRows(rows: readonly OptionRow[]): string {
  return rows.flatMap(formatRow).join('\n')
}

function formatRow({ forms, text }: OptionRow): readonly string[] {
  const names = wrap(forms.join(', '), WIDTH - 2)
  const texts = wrap(text, WIDTH - 2 - FORMS)
  const [first = ''] = names
  const fits = names.length === 1 && first.length < FORMS
  const [beside = ''] = texts
  const head = fits ? [`${first.padEnd(FORMS)}${beside}`] : names
  const rest = (fits ? texts.slice(1) : texts).map((line) => ' '.repeat(FORMS) + line)
  return [...head, ...rest].map((line) => `  ${line}`)
}

/** Breaks at blanks. */
function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
