/**
 * A script of zsh that types each line of its standard input, a tab behind it, at the prompt of another zsh on a terminal of
 * its own (zpty), and prints what the lines became. Its arguments: the script of the completion, and the working directory.
 * compinit gets no `-d`: it renames what it dumps to that name, also over a device.
 */
export const ZSH_TERMINAL = String.raw`
zmodload zsh/zpty zsh/datetime
script=$1 folder=$2 out=$3
zpty -b shell zsh -f -i
type() { zpty -n -w shell "$1" }
wait_for() {
  local end=$((EPOCHSECONDS + 60))
  while (( $(wc -l <$out) < $1 )); do
    (( EPOCHSECONDS < end )) || { print -u2 "no answer $1 of the shell"; exit 1 }
    zpty -r -t shell REPLY; sleep 0.02
  done
}
: >$out
type "PS1= PS2= TERM=dumb; unsetopt auto_list auto_menu beep"$'\n'
type "autoload -Uz compinit; compinit -u -D; source \${(q)script}; cd \${(q)folder}"$'\n'
type "atomfs-fuse() { : }; squashfuse() { : }; fuse-overlayfs() { : }"$'\n'
type "dump() { print -r -- \"\$BUFFER\" >>\${(q)out}; BUFFER= }; zle -N dump; bindkey '^Xd' dump; bindkey '^I' complete-word"$'\n'
type "print ready >>\${(q)out}"$'\n'
wait_for 1
number=1
while IFS= read -r line; do
  type "$line"$'\t\x18d'
  wait_for $((++number))
done
zpty -d shell
tail -n +2 $out
`.replaceAll('\\${', '${')
