import type { CommandModel, OptionModel, ProgramModel, Value, WordModel } from './model.ts'
import { quoted, script } from './script-text.ts'

/** For bash 4.1 or later; needs no other package. */
export function bashScript({ names, options, commands, others }: ProgramModel): string {
  const own = { ...others[0], names: [''], options, words: [], arguments: [], repeats: false } as CommandModel
  const all = [own, ...commands, ...others]
  const bySubject = names.map((name) => quoted(name)).join(' | ')
  return [
    script`# Completion of bash for ${names[0] ?? ''}: source <(${names[0] ?? ''} completion bash)
`,
    `__atomfs_fuse_tables() {\n  case $1 in\n${all.map(tableOf).join('')}  esac\n}\n`,
    `__atomfs_fuse_option() {\n  case $1 in\n${valuesOf(all.flatMap((one) => one.options))}  esac\n}\n`,
    `__atomfs_fuse_word() {\n  case $1 in\n${valuesOfWords(all)}  esac\n}\n`,
    ENGINE.replaceAll('@OWN@', bySubject).replace(
      '@COMMANDS@',
      commands
        .flatMap((command) => command.names)
        .map((name) => quoted(name))
        .join(' '),
    ),
    `complete -F _atomfs_fuse ${[...names, ...others.flatMap((one) => one.names)].join(' ')}\n`,
  ].join('\n')
}

function tableOf(command: CommandModel): string {
  const words = command.words.flatMap((word) => [
    ...(word.alone ? [word.name] : []),
    ...(word.value === undefined ? [] : [`${word.name}=`]),
  ])
  return [
    `    ${command.names.map((name) => (name === '' ? "''" : quoted(name))).join(' | ')})`,
    `      options=(${command.options
      .flatMap(({ flags }) => flags)
      .map(quoted)
      .join(' ')})`,
    `      kinds=(${command.arguments.map((value) => quoted(textOf(value))).join(' ')})`,
    `      repeats=${command.repeats ? 'yes' : ''}`,
    `      list=(${words.map(quoted).join(' ')})`,
    '      ;;\n',
  ].join('\n')
}

/** How the script knows a value: its kind, or the words themselves. */
function textOf(value: Value): string {
  return value.kind === 'words' ? `words ${value.words.join(' ')}` : value.kind
}

function valuesOf(options: readonly OptionModel[]): string {
  return casesOf(
    options.flatMap(({ flags, value }) =>
      value === undefined ? [] : flags.map((flag) => [flag, value] as const),
    ),
  )
}

function valuesOfWords(commands: readonly CommandModel[]): string {
  const rows = commands.flatMap(({ names, words }) =>
    words.flatMap(({ name, value }: WordModel) =>
      value === undefined ? [] : names.map((command) => [`${command}:${name}`, value] as const),
    ),
  )
  return casesOf(rows)
}

/** Patterns with one value stand together. */
function casesOf(rows: readonly (readonly [pattern: string, value: Value])[]): string {
  const byText = new Map<string, Set<string>>()
  for (const [pattern, value] of rows) {
    const text = textOf(value)
    byText.set(text, (byText.get(text) ?? new Set()).add(quoted(pattern)))
  }
  return [...byText]
    .map(([text, patterns]) => `    ${[...patterns].join(' | ')}) kind=${quoted(text)} ;;\n`)
    .join('')
}

/**
 * The part that is the same for every version. Nothing that was typed or found is evaluated. bash breaks words at colons
 * and equal signs, so the script reads the line itself, and takes from each answer what bash does not replace.
 */
const ENGINE = script`# Splits a command line as bash does: words without their quotes, and the open quote of the last one.
__atomfs_fuse_split() {
  local line=$1 char next word= seen= i
  split=() open=
  for ((i = 0; i < $\{#line}; i++)); do
    char=$\{line:i:1}
    next=$\{line:i+1:1}
    if [[ $open == "'" ]]; then
      if [[ $char == "'" ]]; then open=; else word+=$char; fi
    elif [[ $char == \\ ]]; then
      seen=yes
      if [[ $open == '"' && $next != [\$\"\\\`] ]]; then word+=$char; else word+=$next; ((i++)); fi
    elif [[ $open == '"' ]]; then
      if [[ $char == '"' ]]; then open=; else word+=$char; fi
    elif [[ $char == [\"\'] ]]; then
      open=$char
      seen=yes
    elif [[ $char == [[:space:]] ]]; then
      if [[ -n $seen ]]; then split+=("$word"); fi
      word= seen=
    else
      word+=$char
      seen=yes
    fi
  done
  split+=("$word")
}

# Puts a backslash before what bash would not take as it is.
__atomfs_fuse_quote() {
  local text=$1 char i
  quoted=
  for ((i = 0; i < $\{#text}; i++)); do
    char=$\{text:i:1}
    if [[ -z $open && $char != [a-zA-Z0-9_.,:=@%+/~^-] && $char < $'\x7f' ]] ||
      [[ $open == '"' && $char == [\$\"\\\`] ]]; then
      quoted+=\\
    fi
    quoted+=$char
  done
}

# Offers PREFIX and each of the other words that begins with what stands behind it.
__atomfs_fuse_offer() {
  local prefix=$1 one quoted
  shift
  for one; do
    [[ $prefix$one == "$cur"* ]] || continue
    one=$prefix$one
    __atomfs_fuse_quote "$\{one:skip}"
    COMPREPLY+=("$quoted")
  done
}

# Offers files or directories: compgen -f or -d.
__atomfs_fuse_paths() {
  local prefix=$2 one quoted
  if (($\{#prefix} <= skip)); then
    # bash quotes file names itself, and shows the last part alone.
    compopt -o filenames 2>/dev/null
    while IFS= read -r one; do
      one=$prefix$one
      COMPREPLY+=("$\{one:skip}")
    done < <(compgen "$1" -- "$\{cur:$\{#prefix}}")
    return
  fi
  compopt -o nospace 2>/dev/null
  while IFS= read -r one; do
    [[ -d $\{one/#\~/$HOME} ]] && one+=/
    one=$prefix$one
    __atomfs_fuse_quote "$\{one:skip}"
    COMPREPLY+=("$quoted")
  done < <(compgen "$1" -- "$\{cur:$\{#prefix}}")
}

# Offers the places of this program's mounts (proc_pid_mountinfo(5)).
__atomfs_fuse_mounts() {
  local point rest places=()
  while read -r _ _ _ _ point rest; do
    [[ $rest == *' - fuse.atomfs-fuse '* ]] || continue
    printf -v point %b "$point"
    places+=("$point")
  done 2>/dev/null </proc/self/mountinfo
  __atomfs_fuse_offer '' "$\{places[@]}"
}

# Offers the tags behind DIR: where DIR is an image layout.
__atomfs_fuse_tags() {
  local dir=$\{cur%:*} key='"org\.opencontainers\.image\.ref\.name"' one tags=()
  [[ $cur == *:* ]] || return 1
  dir=$\{dir#oci:}
  dir=$\{dir/#\~/$HOME}
  [[ -f $dir/index.json ]] || return 1
  while IFS= read -r one; do
    one=$\{one%\"}
    tags+=("$\{one##*\"}")
  done < <(grep -ao "$key[[:space:]]*:[[:space:]]*\"[^\"\\\\]*\"" "$dir/index.json" 2>/dev/null)
  __atomfs_fuse_offer "$\{cur%:*}:" "$\{tags[@]}"
}

# Offers values of a kind, behind PREFIX.
__atomfs_fuse_values() {
  local kind=$1 prefix=$2 rest words item
  case $kind in
    'words '*)
      read -ra words <<<"$\{kind#words }"
      __atomfs_fuse_offer "$prefix" "$\{words[@]}"
      ;;
    file) __atomfs_fuse_paths -f "$prefix" ;;
    directory) __atomfs_fuse_paths -d "$prefix" ;;
    directories)
      rest=$\{cur:$\{#prefix}}
      [[ $rest == *:* ]] && prefix+=$\{rest%:*}:
      __atomfs_fuse_paths -d "$prefix"
      ;;
    mount) __atomfs_fuse_mounts ;;
    source) __atomfs_fuse_tags || __atomfs_fuse_paths -f "$prefix" ;;
    mount-or-source)
      __atomfs_fuse_mounts
      __atomfs_fuse_tags || __atomfs_fuse_paths -f "$prefix"
      ;;
    list)
      rest=$\{cur:$\{#prefix}}
      [[ $rest == *,* ]] && prefix+=$\{rest%,*},
      item=$\{cur:$\{#prefix}}
      compopt -o nospace 2>/dev/null
      if [[ $item == *=* ]]; then
        kind=any
        __atomfs_fuse_word "$table:$\{item%%=*}"
        __atomfs_fuse_values "$kind" "$prefix$\{item%%=*}="
      else
        __atomfs_fuse_offer "$prefix" "$\{list[@]}"
      fi
      ;;
  esac
}

_atomfs_fuse() {
  local split open cur skip before table= kind= options kinds repeats list
  local i word given=0 ended=
  COMPREPLY=()
  __atomfs_fuse_split "$\{COMP_LINE:0:COMP_POINT}"
  local words=("$\{split[@]}") quote=$open
  cur=$\{words[$\{#words[@]}-1]}
  # What of the word stands before the part that bash replaces, $2.
  before=$\{COMP_LINE:0:COMP_POINT}
  before=$\{before%"$2"}
  __atomfs_fuse_split "$before"
  skip=$\{#split[$\{#split[@]}-1]}
  open=$quote
  case $\{1##*/} in
    @OWN@)
      __atomfs_fuse_tables ''
      i=1
      while ((i < $\{#words[@]} - 1)) && [[ $\{words[i]} == -* ]]; do ((i++)); done
      if ((i == $\{#words[@]} - 1)); then
        __atomfs_fuse_offer '' @COMMANDS@ "$\{options[@]}"
        return
      fi
      table=$\{words[i]}
      ;;
    *)
      table=$\{1##*/}
      i=0
      ;;
  esac
  options=() kinds=() list=()
  __atomfs_fuse_tables "$table"
  for ((i++; i < $\{#words[@]} - 1; i++)); do
    word=$\{words[i]}
    kind=
    if [[ -n $ended || $word != -?* ]]; then ((given++))
    elif [[ $word == -- ]]; then ended=yes
    else
      __atomfs_fuse_option "$word"
      [[ -n $kind ]] && ((i++))
    fi
  done
  # An option whose value is the last word.
  if ((i > $\{#words[@]} - 1)); then
    __atomfs_fuse_values "$kind" ''
  elif [[ -z $ended && $cur == --*=* ]]; then
    kind=any
    __atomfs_fuse_option "$\{cur%%=*}"
    __atomfs_fuse_values "$kind" "$\{cur%%=*}="
  elif [[ -z $ended && $cur == -o?* ]]; then
    __atomfs_fuse_values list -o
  elif [[ -z $ended && $cur == -* ]]; then
    __atomfs_fuse_offer '' "$\{options[@]}"
  else
    if [[ -n $repeats ]] && ((given >= $\{#kinds[@]})); then given=$(($\{#kinds[@]} - 1)); fi
    __atomfs_fuse_values "$\{kinds[given]:-any}" ''
  fi
}
`
