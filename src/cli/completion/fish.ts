import type { CommandModel, OptionModel, ProgramModel, Value } from './model.ts'
import { script } from './script-text.ts'

/** For fish 3. */
export function fishScript({ names, options, commands, others }: ProgramModel): string {
  const [own = ''] = names
  const lines = names.flatMap((name) => [
    ...optionsOf(name, '__atomfs_fuse_in', options),
    ...commands.flatMap((command) => {
      const inside = `__atomfs_fuse_in ${command.names.join(' ')}`
      const offers = command.names.map((verb) =>
        line(name, `-n __atomfs_fuse_in -f -a ${quoted(verb)} -d ${quoted(command.text)}`),
      )
      return [...offers, ...optionsOf(name, inside, command.options), ...argumentsOf(name, inside, command)]
    }),
  ])
  const otherLines = others.flatMap((command) =>
    command.names.flatMap((name) => [
      ...optionsOf(name, '', command.options),
      ...argumentsOf(name, '', command),
    ]),
  )
  const all = [...commands, ...others].flatMap((one) => one.options)
  const valued = new Set(all.flatMap(({ flags, value }) => (value === undefined ? [] : flags)))
  return [
    `# Completion of fish for ${own}: ${own} completion fish | source\n`,
    ENGINE.replace('@VALUED@', [...valued].join('|')),
    wordTable([...commands, ...others]),
    [...names, ...others.flatMap((one) => one.names)].map((name) => `complete -c ${name} -e\n`).join(''),
    ...[...lines, ...otherLines],
  ].join('\n')
}

function line(program: string, rest: string): string {
  return `complete -c ${program} ${rest}`
}

function optionsOf(program: string, condition: string, options: readonly OptionModel[]): readonly string[] {
  const when = condition === '' ? '' : `-n ${quoted(condition)} `
  return options.map(({ flags, text, value }) => {
    const forms = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`))
    const after = value === undefined ? '-f' : `-x ${offerOf(value)}`
    return line(program, `${when}${forms.join(' ')} ${after} -d ${quoted(text)}`.replace(/ +/g, ' '))
  })
}

function argumentsOf(program: string, condition: string, command: CommandModel): readonly string[] {
  const last = command.arguments.length - 1
  return command.arguments.map((value, at) => {
    const which = `__atomfs_fuse_nth ${command.repeats && at === last ? 'from' : 'at'} ${at} ${condition === '' ? 'name' : 'verb'}`
    const when = condition === '' ? which : `${condition}; and ${which}`
    return line(program, `-n ${quoted(when)} -f ${offerOf(value)}`)
  })
}

function offerOf(value: Value): string {
  return value.kind === 'any' ? '' : `-a ${quoted(callOf(value))}`
}

function callOf(value: Value): string {
  switch (value.kind) {
    case 'words':
      return value.words.join(' ')
    case 'any':
      return ''
    case 'list':
      return '(__atomfs_fuse_list)'
    case 'mount-or-source':
      return '(__atomfs_fuse_mount; __atomfs_fuse_source)'
    default:
      return `(__atomfs_fuse_${value.kind})`
  }
}

/** The words after `-o`, a line each: NAME or NAME=, a tab, the kind or the values, a tab, the text. */
function wordTable(commands: readonly CommandModel[]): string {
  const cases = commands
    .filter(({ words }) => words.length > 0)
    .map(({ names, words }) => {
      const rows = words.flatMap(({ name, text, alone, value }) => [
        ...(alone ? [`${name}\t\t${text}`] : []),
        ...(value === undefined ? [] : [`${name}=\t${textOf(value)}\t${text}`]),
      ])
      return `    case ${names.join(' ')}\n${rows.map((row) => `      echo ${quoted(row)}\n`).join('')}`
    })
  return `function __atomfs_fuse_words\n  switch $argv[1]\n${cases.join('')}  end\nend\n`
}

function textOf(value: Value): string {
  return value.kind === 'words' ? `words ${value.words.join(' ')}` : value.kind
}

function quoted(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&')}'`
}

const ENGINE = script`# Whether the command is one of these; without arguments: whether there is none yet.
function __atomfs_fuse_in
  set -l words (commandline -opc)
  set -e words[1]
  for word in $words
    string match -q -- '-*' $word; and continue
    contains -- $word $argv
    return
  end
  test (count $argv) -eq 0
end

# Whether the word is the argument of this number, from 0, behind the name or the verb.
function __atomfs_fuse_nth
  set -l words (commandline -opc)
  set -e words[1]
  set -l given 0
  test $argv[3] = verb; and set given -1
  set -l value no
  for word in $words
    if test $value = yes
      set value no
    else if string match -qr -- '^(@VALUED@)$' $word
      set value yes
    else if not string match -q -- '-*' $word
      set given (math $given + 1)
    end
  end
  test $given -eq $argv[2]; or test $argv[1] = from -a $given -gt $argv[2]
end

# The word under the cursor, without quotes.
function __atomfs_fuse_current
  set -l word (commandline -ct)
  switch $word
    case '"*' "'*"
      string sub -s 2 -- $word
    case '*'
      string unescape -- $word; or echo -- $word
  end
end

function __atomfs_fuse_file
  __fish_complete_path (__atomfs_fuse_current)
end

function __atomfs_fuse_directory
  __fish_complete_directories (__atomfs_fuse_current) ''
end

# Directories behind the last colon.
function __atomfs_fuse_directories
  __atomfs_fuse_path_behind (string match -r -- '^.*:' (__atomfs_fuse_current)) directory
end

function __atomfs_fuse_path_behind
  set -l prefix $argv[1]
  set -l word (string sub -s (math (string length -- "$prefix") + 1) -- (__atomfs_fuse_current))
  if test "$argv[2]" = file
    set -f found (__fish_complete_path $word)
  else
    set -f found (__fish_complete_directories $word '')
  end
  for one in $found
    echo -- "$prefix$one"
  end
end

# The tags behind DIR: where DIR is an image layout, files otherwise.
function __atomfs_fuse_source
  set -l word (__atomfs_fuse_current)
  set -l dir (string replace -r -- ':[^:]*$' '' $word)
  set -l path (string replace -r -- '^oci:' '' $dir)
  set path (string replace -r -- '^~' $HOME $path)
  if string match -q -- '*:*' $word; and test -f "$path/index.json"
    set -l key '"org\.opencontainers\.image\.ref\.name"[[:space:]]*:[[:space:]]*"[^"\\\\]*"'
    for one in (grep -ao $key "$path/index.json" 2>/dev/null)
      printf '%s:%s\ttag\n' $dir (string replace -r -- '^.*"([^"]*)"$' '$1' $one)
    end
    return
  end
  __fish_complete_path $word
end

# The places of this program's mounts (proc_pid_mountinfo(5)).
function __atomfs_fuse_mount
  while read -l one
    string match -q -- '* - fuse.atomfs-fuse *' $one; or continue
    printf '%b\tmount\n' (string replace -ra -- '\\\\([0-7]{3})' '\\\\0$1' (string split ' ' $one)[5])
  end </proc/self/mountinfo
end

# The last of the words after -o.
function __atomfs_fuse_list
  set -l word (__atomfs_fuse_current)
  set -l words (commandline -opc)
  set -l table (string replace -r -- '^.*/' '' $words[1])
  if not __atomfs_fuse_words $table | string length -q
    set table (string match -v -- '-*' $words[2..])[1]
  end
  string match -q -- '-o?*' $word; and set -l start -o; or set -l start ''
  set -l prefix (string match -r -- '^.*,' $word); or set prefix $start
  set -l item (string sub -s (math (string length -- "$prefix") + 1) -- $word)
  set -l name (string match -r -- '^[^=]*=' $item)
  for row in (__atomfs_fuse_words $table)
    set -l cells (string split \t -- $row)
    if test -z "$name"
      printf '%s%s\t%s\n' $prefix $cells[1] $cells[3]
    else if test "$cells[1]" = "$name"
      switch $cells[2]
        case 'words *'
          printf "$prefix$name%s\n" (string split ' ' -- $cells[2])[2..]
        case directory directories file
          set -l before $prefix$name
          test $cells[2] = directories
          and set before $before(string match -r -- '^.*:' (string replace -- $name '' $item))
          __atomfs_fuse_path_behind $before $cells[2]
      end
    end
  end
end
`
