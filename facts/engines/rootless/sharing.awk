# Of passwd, group, subuid, subgid and files of LXC's: the people whose subordinate ids somebody else has too, in lines
# "NAME UID KIND:START:COUNT,… HOME". Which owners these are is worked out elsewhere: this asks whether it is worth a look.
BEGIN { FS = ":" }
FNR == 1 { kind = FILENAME ~ /(subgid|group)$/ ? "g" : "u" }
FILENAME ~ /passwd$/ && $3 ~ /^[0-9]+$/ { name[$3] = $1; uid[$1] = $3; home[$1] = $6; add("u", $1, $3, 1, 0) }
FILENAME ~ /group$/ && $3 ~ /^[0-9]+$/ { add("g", $1, $3, 1, 0) }
FILENAME ~ /sub.id$/ && $2 ~ /^[0-9]+$/ && $3 ~ /^[0-9]+$/ { add(kind, ($1 in name) && !($1 in uid) ? name[$1] : $1, $2, $3, 1) }
/^[ \t]*lxc\.id_?map/ {
  sub(/^[^=]*=[ \t]*/, ""); split($0, word, /[ \t]+/)
  if (word[1] == "u" || word[1] == "g") add(word[1], "", word[3], word[4], 0)
}
function add(kind, owner, start, count, row,  block) {
  start += 0; count += 0
  if (count < 1 || start < 1 || start + count > 4294967296) return
  n++; of[n] = kind; who[n] = owner; first[n] = start; end[n] = start + count; is_row[n] = row
  if (count > 4194304) wide[++wides] = n # with everybody
  else for (block = int(start / 65536); block * 65536 < end[n]; block++) near[kind, block] = near[kind, block] " " n
}
function meet(a, b) {
  if (of[a] != of[b] || who[a] == who[b] || first[a] >= end[b] || first[b] >= end[a]) return 0
  return !(is_row[b] && who[b] == "root" && first[a] == first[b] && end[a] == end[b]) # as LXD's packages write it
}
function shared(a,  block, i, many, one) {
  for (i = 1; i <= wides; i++) if (meet(a, wide[i])) return 1
  if (end[a] - first[a] > 4194304) { for (i = 1; i <= n; i++) if (meet(a, i)) return 1; return 0 }
  for (block = int(first[a] / 65536); block * 65536 < end[a]; block++) {
    many = split(near[of[a], block], one, " ")
    for (i = 1; i <= many; i++) if (meet(a, one[i])) return 1
  }
  return 0
}
END {
  for (a = 1; a <= n; a++) {
    if (!is_row[a] || !(who[a] in uid) || uid[who[a]] < 1000 || uid[who[a]] >= 60000) continue
    rows[who[a]] = rows[who[a]] "," of[a] ":" first[a] ":" end[a] - first[a]
    if (!(who[a] in found) && many_found < 5 && shared(a)) { found[who[a]] = 1; many_found++ }
  }
  for (owner in found) print owner, uid[owner], substr(rows[owner], 2), home[owner]
}
