# The journal read backwards: one change, or a whole run.
# shellcheck disable=SC2010,SC2154 # runs and entries have names of ours; journal.sh gives digest, folder and new

note() { printf '%s\n' "$*" >>"$NOTE"; }

undo() { # ENTRY. Its hooks say in the file $NOTE what is to be known, and may keep in the folder $ENTRY what they need again
  [ ! -e "$1/undone" ] || return 0
  ENTRY=$1 NOTE=$1/note; export ENTRY NOTE
  [ ! -e "$NOTE" ] || rm -f "$NOTE"
  if [ -e "$1/path" ]; then
    IFS= read -r path <"$1/path"; beside "$path"
    old_file "$1" || return 1
  fi
  # An installation that was cut off: what was asked for is known, what came with it is not, and stays.
  [ ! -e "$1/asked" ] || [ -e "$1/packages" ] || comm -13 "$1/before" "$1/asked" >"$1/packages"
  hooks "$1" undo || return 1 # what must stop, or is in the way, before packages go
  if [ -e "$1/packages" ]; then remove_packages "$1/packages" || return 1; fi
  hooks "$1" activate || return 1
  : >"$1/undone"; sync "$1"
}

old_file() { # ENTRY: $path as it was. What was written there since stays: with what we wrote taken out of it, if we know how
  digest "$path"; now=$digest; [ ! -L "$path" ] || now='link'
  was=absent; [ ! -e "$1/original" ] || { digest "$1/original"; was=$digest; }
  wrote=absent; [ ! -e "$1/written" ] || read -r wrote <"$1/written"
  of=; merge=; [ ! -e "$1/merged.of" ] || read -r of merge <"$1/merged.of"
  if [ "$now" = "$was" ]; then return 0
  elif [ -n "$of" ] && [ "$now" = "$of" ]; then
    take=merged
    [ "$merge" = absent ] || [ -e "$1/merged" ] || { echo "the journal lacks what is to become of $path: it stays as it is now"; return 1; }
  elif [ "$now" = "$wrote" ]; then take=original
  elif [ -n "$FORCE" ]; then
    take=original
    [ "$now" = absent ] || note "$path was changed after this run had written it: what was there is kept in $1/replaced"
  elif [ "$wrote" = absent ]; then note "$path was created again since this run removed it: it stays as it is"; return 0
  else echo "$path was changed after this run had written it: it stays as it is now"; return 1
  fi
  keep_now "$1" || [ ! -e "$J/armed" ] || return 1
  if [ ! -e "$1/$take" ]; then
    rm -f -- "$path" && { [ ! -e "$1/made" ] || rmdir -- "$folder" 2>/dev/null || :; }
  elif [ $take = merged ]; then
    gone "$new" && cp -a -- "$path" "$new" && cat "$1/merged" >"$new" && valid "$1" && sync "$new" && replace "$path"
  else
    gone "$new" && cp -a -- "$1/original" "$new" && as_now "$1" && sync "$new" && replace "$path"
  fi
}

keep_now() { # ENTRY: what is there beside the original, so that an undo can be understood, or taken back, later
  if [ -f "$path" ]; then cp -a -- "$path" "$1/replaced.new" && mv -f -- "$1/replaced.new" "$1/replaced"
  elif [ ! -e "$path" ]; then : >"$1/vacant"; fi
}

valid() { # ENTRY: the merged text, to the program that reads it
  if ! why=$(NEW=$new sh "$1/validate" 2>&1 </dev/null 9>&-); then rm -f -- "$new"; echo "$path would not be valid: $why"; return 1; fi
}

as_now() { # ENTRY: who gave the file another mode or owner after us meant that
  [ -e "$1/as" ] && [ -e "$path" ] || return 0
  as=$(stat -c '%a %u:%g' "$path"); read -r before <"$1/as"
  [ "$as" = "$before" ] || { chown "${as#* }" "$new" && chmod "${as% *}" "$new" && note "$path keeps the mode and owner that it was given since ($as)"; }
}

hooks() { # ENTRY NAME...
  at=$1; shift
  for hook; do
    if [ -n "$(cat "$at/$hook" 2>/dev/null)" ]; then sh "$at/$hook" </dev/null 9>&- || return 1; fi
  done
}

keep_since() { # ENTRY: what was written to $path after its undo, before a redo writes there; $kept names the copy
  kept=
  [ -f "$path" ] && { [ -e "$1/replaced" ] || [ -e "$1/vacant" ]; } || return 0
  digest "$path"; now=$digest
  for one in original merged replaced; do
    digest "$1/$one"
    [ "$digest" != "$now" ] || return 0
  done
  kept=$1/kept-$(date -u +%Y%m%dT%H%M%SZ)
  cp -a -- "$path" "$kept.new" && mv -f -- "$kept.new" "$kept"
}

redo() { # ENTRY: what its undo took away; the same once more where power was lost in the middle. It stands again also
  # where not all of it could be made live: at boot some of it is not there yet, and its files bring the rest.
  kept=
  if [ -e "$1/path" ]; then
    IFS= read -r path <"$1/path"; beside "$path"
    keep_since "$1" || return 1
    if [ -e "$1/replaced" ]; then
      readable "$folder" && gone "$new" && cp -a -- "$1/replaced" "$new" && sync "$new" && replace "$path"
    elif [ -e "$1/vacant" ]; then rm -f -- "$path"
    fi || return 1
  fi
  hooks "$1" 'do'; hooks "$1" activate
  rm -f "$1/undone" "$1/replaced" "$1/vacant" "$1/note"
  NOTE=$1/note; [ -z "$kept" ] || note "$path was changed after its undo: what was there is kept in $kept"
  sync "$1"
}

tell() { # RUN ENTRY...: files as they were, as we wrote them and as they are, in lines "@NONCE file ENTRY NAME BASE64"
  J=$BASE/$1; shift
  for e; do
    if ! [ -e "$J/$e/path" ] || ! IFS= read -r path <"$J/$e/path"; then continue; fi
    tell_one original "$J/$e/original"; tell_one wrote "$J/$e/wrote"; tell_one written "$J/$e/written"; tell_one now "$path"
  done
}

tell_one() { # NAME FILE: `-` where there is none, `?` where it is none that could be merged
  text='?'
  if [ -L "$2" ]; then :; elif [ ! -e "$2" ]; then text=-
  elif [ -f "$2" ] && [ "$(wc -c <"$2")" -le 65536 ]; then text=$(base64 -w 0 <"$2"); fi
  printf '@%s file %s %s %s\n' "$N" "$e" "$1" "$text"
}

amend() { # ENTRY NAME <base64: what the rollback knows better than the journal, and than an earlier rollback did
  [ "$2" != merged.of ] || rm -f -- "$J/$1/merged"
  base64 -d >"$J/$1/$2.new" && mv -f -- "$J/$1/$2.new" "$J/$1/$2" || { fail journal "the journal cannot be written, so nothing was undone"; return 1; }
}

unseen() { # RUN, the newest that the survey saw: another one was made since
  newest=$(ls "$BASE" | grep '^[0-9]' | sort | tail -n 1)
  [ "$newest" = "$1" ] || { fail journal "run $newest was made here meanwhile, so nothing was undone: run again"; exit 1; }
}

undo_run() { # the whole run $J, last change first, up to one that cannot be undone: what came before it may be needed by it.
  # Behind what was armed it ends (`ok waiting`), until that is confirmed. $SKIP stay for good, $LEAVE for now.
  waits=; back=
  for e in $(ls -r "$J" | grep -E '^[0-9]{4}$'); do
    left "$J/$e" || continue
    of=; [ ! -e "$J/$e/armed" ] || read -r of <"$J/$e/armed"
    [ -z "$waits" ] || [ "$of" = "$waits" ] || break
    case " $SKIP " in *" $e "*) : >"$J/$e/skipped"; ok "$e" "left as it is"; continue ;; esac
    case " $LEAVE " in *" $e "*) continue ;; esac
    if [ -n "$of" ]; then
      [ -n "$waits" ] || arm_undo "$e" "$of" || return 1
      waits=$of; echo "$e" >>"$J/armed"; sync "$J/armed"
    fi
    if why=$(undo "$J/$e" 2>&1); then ok "$e" "$(cat "$J/$e/note" 2>/dev/null)"; back="$e $back"
    elif [ -n "$waits" ]; then fail "$e" "$why"; revert_now "${J##*/}"; went_back waiting; return 1
    else new_again "$e"; fail "$e" "$why$again"; return 1
    fi
    [ -z "$waits" ] || hold "$e" redo || { revert_now "${J##*/}"; went_back waiting; return 1; }
  done
  if [ -n "$waits" ]; then ok waiting; return; fi
  for e in "$J"/[0-9][0-9][0-9][0-9]; do [ -e "$e/undone" ] || return 0; done
  : >"$J/undone"; sync "$J"
}

new_again() { # ENTRY that could not be undone: its service gets the new files back that it had lost by then, or old and new mix
  of=$1; again=; [ ! -e "$J/$1/service" ] || read -r of <"$J/$1/service"
  for f in $back; do
    s=; [ ! -e "$J/$f/service" ] || read -r s <"$J/$f/service"
    [ "$s" = "$of" ] || continue
    redo "$J/$f"; went_back "$f"; again='; what was undone of this step until then is put back'
  done
  [ -z "$again" ] || said=$(ENTRY=$J/$of NOTE=/dev/null sh "$J/$of/undo" 2>&1 </dev/null 9>&-) || again="$again, but its service could not be activated with that: $said"
}
