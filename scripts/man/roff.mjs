// Text of man(7): lines, escapes, and the part of Markdown that docs/ use.

/** Lines of a page are shorter than this (mandoc -T lint). */
const COLUMNS = 78

const CHARACTERS = { '…': '...', '’': "'", '–': '-', '≥': '>=' }

/** Text as it is to be shown. @throws Error for a character that has no form in ASCII here */
export function escapeText(text) {
  const ascii = text.replace(/[^\n -~]/gu, (char) => {
    const known = CHARACTERS[char]
    if (known === undefined) throw new Error(`man page: no form for ${JSON.stringify(char)} in: ${text}`)
    return known
  })
  return ascii.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll("'", '\\(aq')
}

/** What stands between the markers becomes bold. */
export function bold(text) {
  return `\\fB${escapeText(text)}\\fR`
}

/** A macro with one argument, which may hold blanks. */
export function macro(name, text) {
  return `.${name} "${text.replaceAll('"', '\\(dq')}"`
}

/** Text in the fonts that it names, in lines that are short enough and that no program takes for macros. */
export function paragraph(text) {
  const lines = []
  let line = ''
  for (const word of text.split(/\s+/).filter((one) => one !== '')) {
    if (line !== '' && line.length + 1 + word.length > COLUMNS) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  lines.push(line)
  return lines.map((one) => (/^[.']/.test(one) ? `\\&${one}` : one)).join('\n')
}

/** A term, and what is said of it. */
export function term(head, text) {
  return `.TP\n${paragraph(head).replaceAll('\n', ' ')}\n${paragraph(text)}`
}

/** Code, bold and links of one line of Markdown. */
export function inline(text) {
  return text
    .replace(/\[([^\]]+)\]\(#[^)]*\)/g, '$1')
    .replace(/\[([^\]]+)\]\(([a-z/-]+\.md)[^)]*\)/g, '$1 (docs/$2)')
    .replace(/\[([^\]]+)\]\([^)]*\)/g, '$1')
    .split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*]+\*)/)
    .map((piece, at) => (at % 2 === 0 ? escapeText(piece) : bold(piece.replace(/^[`*]+|[`*]+$/g, ''))))
    .join('')
}

/** The text of a document below a heading, up to the next one of its level. @throws Error where it is missing */
export function sectionOf(document, heading) {
  const text = document.split(/^## /m).find((one) => one.startsWith(`${heading}\n`))
  if (text === undefined) throw new Error(`man page: no heading ${JSON.stringify(heading)}`)
  return text.slice(heading.length).trim()
}

/** Paragraphs, tables, lists and code of Markdown. The first row of a table is its head, which is left out. */
export function fromMarkdown(text) {
  return text
    .split(/\n{2,}/)
    .map(blockOf)
    .join('\n')
}

function blockOf(block) {
  const lines = block.split('\n')
  if (block.startsWith('```'))
    return `.PP\n.in +4n\n.EX\n${lines.slice(1, -1).map(codeLine).join('\n')}\n.EE\n.in`
  if (block.startsWith('|')) return lines.slice(2).map(rowOf).join('\n')
  if (block.startsWith('- ')) {
    const items = block.split(/^- /m).slice(1)
    return items.map((item) => `.IP \\(bu 2\n${paragraph(inline(item))}`).join('\n')
  }
  return `.PP\n${paragraph(inline(lines.map((line) => line.replace(/^#+ (.*)$/, '**$1**')).join(' ')))}`
}

/** A line that keeps its blanks. */
export function codeLine(text) {
  const line = escapeText(text)
  return /^[.']/.test(line) ? `\\&${line}` : line
}

function rowOf(row) {
  const [head, ...cells] = row
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/)
    .map((cell) => inline(cell.trim().replaceAll('\\|', '|')))
  return term(head, cells.join('; '))
}
