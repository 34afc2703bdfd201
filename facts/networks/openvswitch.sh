# shellcheck shell=sh
# Given: LOADED (a prefix of files), SWITCH_ENABLED.
if have ovs-vsctl; then
  run switches ovs-vsctl --timeout=5 --format=json -- --columns=name,fail_mode,ports list Bridge \
    -- --columns=_uuid,name,interfaces,tag,trunks,vlan_mode,protected list Port \
    -- --columns=_uuid,name,type,ofport,ofport_request list Interface
  for f in "$LOADED"*; do
    [ -e "$f" ] || continue
    show "$f"; b=${f#"$LOADED"}
    run "flows $b" ovs-ofctl -O OpenFlow13 --timeout=5 --no-stats dump-flows "$b"
  done
fi
run switch-enabled ls "$SWITCH_ENABLED"
