// Makes the man pages in man/: of what `--help` shows, and of docs/options.md. Their date is that of SOURCE_DATE_EPOCH.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { bold, codeLine, escapeText, fromMarkdown, macro, paragraph, sectionOf, term } from './man/roff.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const { name, version, description } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const options = readFileSync(join(root, 'docs', 'options.md'), 'utf8')

/** What `--help` shows, without the code of the commands. */
async function readHelp() {
  const { outputFiles } = await build({
    stdin: {
      contents: `export { COMMANDS, OPTIONS } from './command-table.ts'
export { MOUNT_ROWS, OVERLAY_ROWS } from './option-rows.ts'
export { EXAMPLES } from './examples.ts'`,
      resolveDir: join(root, 'src', 'cli', 'program'),
    },
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    external: ['../commands/*'],
  })
  return await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`)
}

function head(page, section, title) {
  const seconds = process.env.SOURCE_DATE_EPOCH
  const date = (seconds === undefined ? new Date() : new Date(Number(seconds) * 1000)).toISOString()
  return [
    `.TH ${page.toUpperCase()} ${section} ${date.slice(0, 10)} "${name} ${version}"`,
    '.SH NAME',
    `${escapeText(page)} \\- ${escapeText(title)}`,
    '.SH SYNOPSIS',
  ]
}

/** `<source>` of a command is `SOURCE` of its line, in italics; what may be left out is in brackets. */
function argument(word) {
  const bare = word.replace(/[<>[\].]/g, '').toUpperCase()
  const italic = `\\fI${escapeText(bare)}\\fR${word.includes('...') ? '...' : ''}`
  return word.startsWith('[') ? `[${italic}]` : italic
}

function optionHead(flags) {
  return flags
    .split(/(<[^>]+>|\[[^\]]+\])/)
    .map((piece, at) =>
      at % 2 === 1 ? argument(piece) : piece === '' ? '' : `\\fB${escapeText(piece.trimEnd())}\\fR `,
    )
    .join('')
    .trim()
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`
}

function wordRows(rows) {
  return rows.map(({ forms, text }) =>
    term(forms.map((form) => bold(form)).join(', '), escapeText(`${text}.`)),
  )
}

function commandSection(row) {
  const line = [
    bold(row.name),
    ...(row.options.length > 0 ? ['[\\fIOPTION\\fR...]'] : []),
    ...row.arguments.map(argument),
  ]
  return [
    macro('SS', line.join(' ')),
    paragraph(escapeText(sentence(row.description))),
    ...(row.alias === undefined ? [] : ['.PP', paragraph(`${bold(row.alias)} is the same command.`)]),
    ...row.options.map(([flags, text]) => term(optionHead(flags), escapeText(`${text}.`))),
  ].join('\n')
}

function ownPage({ COMMANDS, OPTIONS, MOUNT_ROWS, OVERLAY_ROWS, EXAMPLES }) {
  return [
    ...head(name, 1, 'mount images of squashfs layers through one FUSE mount'),
    ...COMMANDS.map((row) => {
      const words = [bold(`${name} ${row.name}`), ...(row.options.length > 0 ? ['[\\fIOPTION\\fR...]'] : [])]
      return `.PP\n${paragraph([...words, ...row.arguments.map(argument)].join(' '))}`
    }),
    '.SH DESCRIPTION',
    paragraph(escapeText(`${description}.`)),
    '.SS "Sources and targets"',
    fromMarkdown(sectionOf(options, 'Sources and targets')),
    '.SH COMMANDS',
    paragraph(
      'Each command has the option \\fB\\-h\\fR, \\fB\\-\\-help\\fR, which prints a short form of what follows.',
    ),
    `${bold('-V')}, ${bold('--version')} before it prints the version, ${bold(OPTIONS.debug[0])} logs every request.`,
    ...COMMANDS.map(commandSection),
    '.SH MOUNT OPTIONS',
    paragraph(`What may stand after ${bold('-o')} of ${bold('mount')}, separated by commas.`),
    ...wordRows(MOUNT_ROWS),
    '.SH OVERLAY OPTIONS',
    paragraph(
      `What may stand after ${bold('-o')} of ${bold('overlay')}, beside the options of ${bold('mount')}.`,
    ),
    ...wordRows(OVERLAY_ROWS),
    '.SH EXIT STATUS',
    fromMarkdown(sectionOf(options, 'Exit codes and output')),
    '.SH ENVIRONMENT',
    fromMarkdown(sectionOf(options, 'Environment')),
    '.SH FILES',
    term(
      `${bold('/run/atomfs')}, ${bold('$XDG_RUNTIME_DIR/atomfs')}`,
      'Runtime data and the log of each mount, of root and of other users.',
    ),
    term(bold('/dev/fuse'), 'The device through which the kernel asks.'),
    term(
      bold('/etc/fuse.conf'),
      `${bold('user_allow_other')} lets plain users give others access, ${bold('mount_max')} limits their mounts.`,
    ),
    '.SH EXAMPLES',
    ...EXAMPLES.map(
      ([words, text]) =>
        `.PP\n${paragraph(escapeText(`${sentence(text).slice(0, -1)}:`))}\n.PP\n.in +4n\n.EX\n${codeLine(`${name} ${words}`)}\n.EE\n.in`,
    ),
    '.SH SEE ALSO',
    paragraph(`The documents that this page names are in the folder ${bold('docs')} of the package.`),
    '.PP',
    ...['mount.atomfs-fuse(8)', 'fusermount3(1)', 'mksquashfs(1)', 'veritysetup(8)', 'mount(8)'].map(
      (page, at, all) =>
        `.BR ${page.replace(/\((\d)\)/, ` ($1)${at < all.length - 1 ? ',' : ''}`).replaceAll('-', '\\-')}`,
    ),
  ]
}

function helperPage() {
  return [
    ...head('mount.atomfs-fuse', 8, `mount helper of ${name}`),
    `\\fBmount\\fR \\fB\\-t\\fR \\fBfuse.atomfs\\-fuse\\fR [\\fB\\-o\\fR \\fIOPTIONS\\fR]`,
    '\\fISOURCE\\fR \\fITARGET\\fR',
    '.PP',
    '\\fBmount.atomfs\\-fuse\\fR \\fISOURCE\\fR \\fITARGET\\fR [\\fB\\-sfnv\\fR]',
    '[\\fB\\-o\\fR \\fIOPTIONS\\fR]',
    '.SH DESCRIPTION',
    paragraph(
      `${bold('mount')}(8) and systemd run the helper for lines of fstab and for ${bold('-t')}. It does what ` +
        `${bold(`${name} mount`)} does; ${bold('-s')}, ${bold('-n')}, ${bold('-v')}, ${bold('-N')} and ${bold('-t')} ` +
        `have no effect, and ${bold('-f')} mounts nothing. ${bold('mount.fuse.atomfs-fuse')} is the same program.`,
    ),
    '.PP',
    paragraph(
      `${bold(`${name} install-links`)} ${bold('/sbin')} ${bold('mount.atomfs-fuse')} makes the link that mount(8) looks for.`,
    ),
    fromMarkdown(sectionOf(options, 'mount(8), fstab and other names of the program')),
    '.SH SEE ALSO',
    `.BR ${name.replace('-', '\\-')} (1),`,
    '.BR mount (8),',
    '.BR fstab (5)',
  ]
}

function linkPage() {
  return [
    ...head('atomfs', 1, `${name} by the name that LXC calls`),
    '\\fBatomfs\\fR \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]',
    '.SH DESCRIPTION',
    paragraph(`The same program as ${bold(name)}, with the same commands.`),
    '.SH SEE ALSO',
    `.BR ${escapeText(name)} (1)`,
  ]
}

/** A heading begins a paragraph by itself. */
function textOf(lines) {
  return `${lines.join('\n').replace(/^(\.S[HS] .*)\n\.PP$/gm, '$1')}\n`
}

const help = await readHelp()
const pages = { 'atomfs-fuse.1': ownPage(help), 'atomfs.1': linkPage(), 'mount.atomfs-fuse.8': helperPage() }
// `--to FOLDER`: elsewhere, for tests.
const to = process.argv.indexOf('--to')
const folder = to < 0 ? join(root, 'man') : process.argv[to + 1]
mkdirSync(folder, { recursive: true })
for (const [page, lines] of Object.entries(pages)) writeFileSync(join(folder, page), textOf(lines))
