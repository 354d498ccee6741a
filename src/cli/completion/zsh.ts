import type { CommandModel, OptionModel, ProgramModel, Value, WordModel } from './model.ts'
import { quoted, script } from './script-text.ts'

/** For zsh 5: a file of `fpath`, or a text to be sourced. */
export function zshScript({ names, options, commands, others }: ProgramModel): string {
  const all = [...names, ...others.flatMap((one) => one.names)]
  const described = commands.flatMap((command) =>
    command.names.map((name) => quoted(`${escaped(name)}:${command.text}`)),
  )
  return [
    `#compdef ${all.join(' ')}`,
    `# Completion of zsh for ${names[0] ?? ''}: source <(${names[0] ?? ''} completion zsh), after compinit\n`,
    ...[...commands, ...others].map(listOf),
    ENGINE,
    `_atomfs_fuse_command() {\n  case $1 in\n${[...commands, ...others].map(caseOf).join('')}  esac\n}\n`,
    '_atomfs_fuse() {',
    '  local curcontext="$curcontext" state line',
    '  typeset -A opt_args',
    `  local -a commands=(\n    ${described.join('\n    ')}\n  )`,
    '  case $service in',
    `    ${names.join(' | ')})`,
    `      _arguments -C ${specsOf(options).join(' ')} '1: :->command' '*:: :->rest' && return`,
    '      case $state in',
    '        command) _describe command commands ;;',
    '        rest) _atomfs_fuse_command $words[1] ;;',
    '      esac',
    '      ;;',
    '    *) _atomfs_fuse_command $service ;;',
    '  esac',
    '}\n',
    // A file of fpath is the function itself; what is sourced says what it is for.
    'if [[ $zsh_eval_context[-1] == loadautofunc ]]; then',
    '  _atomfs_fuse "$@"',
    'else',
    `  compdef _atomfs_fuse ${all.join(' ')}`,
    'fi\n',
  ].join('\n')
}

/** The function for the words after `-o` of a command. */
function listOf({ names, words }: CommandModel): string {
  if (words.length === 0) return ''
  const specs = words.map(specOfWord).map((spec) => `    ${quoted(spec)}`)
  return `${listName(names)}() {\n  _values -s , 'mount option' \\\n${specs.join(' \\\n')}\n}\n`
}

function listName([name = '']: readonly string[]): string {
  return `_atomfs_fuse_list_${name.replaceAll('-', '_')}`
}

function specOfWord({ name, text, alone, value }: WordModel): string {
  const head = `${name}[${escaped(text)}]`
  // A value that may be missing has two colons.
  return value === undefined ? head : `${head}${alone ? '::' : ':'}value:${actionOf(value, '')}`
}

function caseOf(command: CommandModel): string {
  const list = command.words.length === 0 ? '' : listName(command.names)
  const rest = command.arguments.map((value, at) => {
    const repeats = command.repeats && at === command.arguments.length - 1
    return quoted(`${repeats ? '*' : at + 1}:${value.kind}:${actionOf(value, list)}`)
  })
  const specs = [...specsOf(command.options, list), ...rest]
  return [
    `    ${command.names.join(' | ')})`,
    `      _arguments ${specs.join(' \\\n        ')}`,
    '      ;;\n',
  ].join('\n')
}

function specsOf(options: readonly OptionModel[], list = ''): readonly string[] {
  return options.flatMap(({ flags, text, value }) => {
    const others = flags.length > 1 ? `(${flags.join(' ')})` : ''
    const after = value === undefined ? '' : `:value:${actionOf(value, list)}`
    return flags.map((flag) => {
      // `-o` may be repeated, and its value may follow at once.
      if (value?.kind === 'list') return quoted(`*${flag}+[${escaped(text)}]${after}`)
      const form = value !== undefined && flag.startsWith('--') ? `${flag}=` : flag
      return quoted(`${others}${form}[${escaped(text)}]${after}`)
    })
  })
}

function actionOf(value: Value, list: string): string {
  switch (value.kind) {
    case 'words':
      return `(${value.words.join(' ')})`
    case 'file':
      return '_files'
    case 'directory':
      return '_files -/'
    case 'directories':
      return '_dir_list'
    case 'source':
      return '_atomfs_fuse_source'
    case 'mount':
      return '_atomfs_fuse_mounts'
    case 'mount-or-source':
      return '_atomfs_fuse_mounts_and_source'
    case 'list':
      return list
    case 'any':
      return ' '
  }
}

/** Text within a specification of `_arguments`. */
function escaped(text: string): string {
  return text.replace(/[[\]:\\]/g, '\\$&')
}

const ENGINE = script`# The tags behind DIR: where DIR is an image layout, files otherwise.
_atomfs_fuse_source() {
  local dir=$\{(Q)PREFIX%:*} one
  local -a tags
  dir=$\{dir#oci:}
  [[ $dir == '~'* ]] && dir=$HOME$\{dir#'~'}
  if [[ $PREFIX == *:* && -f $dir/index.json ]]; then
    for one in $\{(f)"$(grep -ao '"org\.opencontainers\.image\.ref\.name"[[:space:]]*:[[:space:]]*"[^"\\]*"' $dir/index.json 2>/dev/null)"}; do
      one=$\{one%\"}
      tags+=($\{one##*\"})
    done
    compset -P '*:'
    _wanted tags expl tag compadd -a tags
    return
  fi
  _files
}

# The places of this program's mounts (proc_pid_mountinfo(5)).
_atomfs_fuse_mounts() {
  local one point
  local -a places
  for one in $\{(f)"$(</proc/self/mountinfo)"}; do
    [[ $one == *' - fuse.atomfs-fuse '* ]] || continue
    point=$\{$\{=one}[5]}
    places+=($\{(g:o:)point})
  done
  _wanted mounts expl mount compadd -a places
}

_atomfs_fuse_mounts_and_source() {
  _alternative 'mounts:mount:_atomfs_fuse_mounts' 'sources:source:_atomfs_fuse_source'
}
`
