# shellcheck shell=sh
# For the sections docker and files of the survey.
modes() { # PATH...: owner, group and mode of each, and the access control lists where one has more than that
  listed=$(ls -ldLq --time-style=+ -- "$@" 2>&1)
  run listed kept "$listed" "$?"
  case $listed in *[rwxsStT-]+\ *) if have getfacl; then run acls getfacl -p -- "$@"; fi ;; esac
}
